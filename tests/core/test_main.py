"""The command line, called as a script calls it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from core import paths, runs
from core.__main__ import main
from core.config import DataConfig, MergeConfig, TrainConfig
from core.errors import UserError
from core.jobs.arguments import config_values, join_values, parse
from core.jobs.configure import configure
from core.merge import STRATEGIES


def core(*words):
    """Run `python -m core ...`; (exit status, the JSON of the last line, standard error)."""
    done = subprocess.run([sys.executable, "-m", "core", *words], cwd=paths.PROJECT, capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def said(capsys, *words):
    """Run the command line in this process."""
    status = main(words)
    captured = capsys.readouterr()
    return status, json.loads(captured.out.splitlines()[-1]), captured.err


def config_of(line):
    values = parse(line)
    return configure(values["verb"], config_values(values))


def test_a_verb_is_done_and_says_so_in_one_line_of_json(naps):
    status, answer, errors = core("nap", "--seconds", "0.3")
    assert status == 0 and answer["status"] == "done" and answer["outputs"]["tries"] == 1
    assert runs.read(answer["run_id"]).config["seconds"] == 0.3
    assert "[########################] 100% 0/0 seconds" in errors


def test_a_real_verb_takes_fields_by_their_names(tiny_base, tiny_data, tmp_path):
    lines = [json.loads(line) for line in tiny_data.read_text().splitlines()]
    rows = [{"ask": row["question"], "say": row["answer"], "school": row["category"]} for row in lines]
    renamed = tmp_path / "renamed.jsonl"
    renamed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ("--question_column", "ask", "--answer-column", "say", "--category_column", "school")
    status, answer, _ = core("data", "--data", str(renamed), *columns, "--base_model", str(tiny_base))
    assert (status, answer["status"]) == (0, "done")
    assert answer["outputs"]["rows"] == 100 and answer["outputs"]["categories"] == 3


def test_a_persons_error_exits_2_and_a_bug_exits_1(naps):
    status, answer, errors = core("nap", "--end", "user error")
    assert (status, answer["status"], answer["error"]) == (2, "failed", "The bed is too short (1 m). Take a longer one.")
    assert answer["error"] in errors and "Traceback" not in errors
    status, answer, _ = core("nap", "--end", "bug")
    assert (status, answer["status"]) == (1, "failed") and answer["error"].startswith("ZeroDivisionError: no bed at all.")


def test_ctrl_c_cancels_the_run_that_it_follows(naps):
    # tests that run in the background are started deaf to Ctrl-C
    heed = "import signal, sys; from core.__main__ import main; signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())"
    words = [sys.executable, "-c", heed, "nap", "--seconds", "60"]
    process = subprocess.Popen(words, cwd=paths.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while not (started := runs.listing(status="running")) or not runs.read_events(started[0].run_id):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    answer = json.loads(process.communicate(timeout=30)[0].splitlines()[-1])
    assert process.returncode == 130
    assert answer == {"run_id": started[0].run_id, "status": "cancelled", "outputs": {}}
    assert runs.read(started[0].run_id).status == "cancelled"


def test_the_run_outlives_the_command_line_and_resume_last_follows_it(naps, nap, until, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "core", "nap", "--seconds", "60", "--wait_for", str(tmp_path / "wake up")],
        cwd=paths.PROJECT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not runs.listing(status="running"):
        time.sleep(0.05)
    run = runs.listing()[0]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(nap(verb="desk-nap"), "done")  # the newest run is done and can't be what 'last' means
    words = [sys.executable, "-m", "core", "jobs", "--resume", "last"]
    follower = subprocess.Popen(words, cwd=paths.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert follower.stderr.readline() == f"{run.run_id} is running; following it.\n"
    (tmp_path / "wake up").touch()
    answer = json.loads(follower.communicate(timeout=30)[0].splitlines()[-1])
    assert (follower.returncode, answer["run_id"], answer["status"], answer["outputs"]["tries"]) == (0, run.run_id, "done", 1)


def test_jobs_lists_detaches_cancels_resumes_and_removes(naps, capsys):
    status, first, _ = said(capsys, "nap", "--seconds", "30", "--detach")
    assert status == 0 and first["status"] == "queued"
    status, second, _ = said(capsys, "nap", "--detach")
    status, listed, _ = said(capsys, "jobs")
    assert status == 0 and [run["run_id"] for run in listed["outputs"]["runs"]] == [second["run_id"], first["run_id"]]
    status, answer, _ = said(capsys, "jobs", "--cancel", first["run_id"])
    assert (status, answer["run_id"], answer["status"]) == (0, first["run_id"], "cancelled")
    status, answer, _ = said(capsys, "jobs", "--resume", second["run_id"])
    assert (status, answer["status"]) == (0, "done")
    status, answer, errors = said(capsys, "jobs", "--resume", second["run_id"])
    assert (status, answer["status"]) == (0, "done") and "is done already" in errors
    status, answer, _ = said(capsys, "jobs", "--cancel")
    assert status == 2 and "is queued or running, so there is no last one" in answer["error"]
    status, answer, _ = said(capsys, "jobs", "--remove", second["run_id"])
    assert (status, answer["status"]) == (0, "removed")
    assert [run.run_id for run in runs.listing()] == [first["run_id"]]
    status, answer, _ = said(capsys, "jobs", "--resume", "nothing-like-it")
    assert status == 2 and "There is no run 'nothing-like-it'" in answer["error"]
    assert said(capsys, "jobs", "--resume", "../../etc")[0] == 2


@pytest.mark.parametrize("weights", [["-0.5,1"], ["-0.5", "1"], ["[-0.5, 1]"], ["-0.5,", "1"], ["-.5", "1e0"]])
@pytest.mark.parametrize("adapters", [["a,b"], ["a", "b"], ['["a", "b"]']])
def test_lists_have_three_spellings_and_numbers_may_be_negative(weights, adapters):
    config = config_of(["merge", "--adapters", *adapters, "--weights", *weights, "--strategy", "svd"])
    assert isinstance(config, MergeConfig)
    assert (config.adapters, config.weights, config.strategy) == (("a", "b"), (-0.5, 1.0), "svd")


@pytest.mark.parametrize(
    ("words", "replace"),
    [
        ([], False),
        (["--replace"], True),
        (["--replace", "true"], True),
        (["--replace=false"], False),
        (["--replace", "--no-replace"], False),
    ],
)
def test_yes_and_no(words, replace):
    config = config_of(["train", *words, "--seed", "3"])
    assert isinstance(config, TrainConfig) and (config.replace, config.seed) == (replace, 3)


def test_empty_and_none_empty_a_field_that_may_be_empty():
    config = config_of(["train", "--max_steps", "none", "--category_column", "", "--learning-rate", "2e-4"])
    assert (config.max_steps, config.category_column, config.learning_rate) == (None, None, 2e-4)


def test_values_are_joined_up_to_the_next_option():
    assert join_values(["merge", "--weights", "-1", "2", "--name", "x", "-h"]) == ["merge", "--weights=-1,2", "--name=x", "-h"]


def test_a_job_file_is_a_base_that_the_command_line_overrides(tmp_path, naps, until, nap):
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"r": 4, "seed": 1, "categories": ["a", "b"]}))
    config = config_of(["train", "--config", str(file), "--seed", "2"])
    assert (config.r, config.seed, config.categories) == (4, 2, ("a", "b"))
    run = until(nap(seconds=0.1), "done")
    assert config_of(["nap", "--config", str(run.path / "run.json")]).seconds == 0.1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "can't be read (No such file or directory)"),
        ("{", "is no JSON"),
        ("[1]", "holds no JSON object"),
        ('{"verb": "merge", "config": {}}', "is for 'merge', not for 'train'"),
        ('{"sead": 1}', "Unknown field 'sead'"),
    ],
)
def test_a_job_file_that_cannot_be_used_is_told(tmp_path, content, sentence):
    file = tmp_path / "job.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError) as error:
        config_of(["train", "--config", str(file)])
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Say what to do: python -m core <verb>, with one of: data, train, plan, merge, "),
        (["tain"], "Unknown verb 'tain'. Choose one of: data, train,"),
        (["train", "--sead", "1"], "Unknown field '--sead' for train. Choose among: --data, --question_column,"),
        (["train", "--see", "1"], "Unknown field '--see'"),
        (["train", "stray"], "Unknown field 'stray'"),
        (["train", "--batch_size", "0"], "batch_size=0 can't be used: it should be greater than or equal to 1. Rows per adapter"),
        (["train", "--r", "eight"], "r=eight can't be used: it should be a valid integer"),
        (["train", "--keep", "all"], "keep=all can't be used: it should be 'best' or 'last'. Which weights"),
        (["train", "--method", "lorra"], "Unknown tuning method 'lorra'. Choose one of: lora, qlora, "),
        (["train", "--seed"], "expected one argument"),
        (["merge", "--strategy", "svd"], "No adapters were given, so there is nothing to merge"),
        (["merge", "--adapters", "a,b", "--weights", "1"], "1 weights were given for 2 adapters."),
        (["merge", "--adapters", "a", "--weights", "much"], "weights=much can't be used: it should be a valid number"),
        (["train", "--data", "\udcff.jsonl"], "\\udcff.jsonl is no UTF-8 text"),
        (["jobs", "--resum", "last"], "Unknown field '--resum' for jobs. Choose among: --resume, --cancel, --remove."),
        (["jobs", "--resume", "a", "--cancel", "b"], "not allowed with argument"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(words, sentence, capsys):
    status, answer, errors = said(capsys, *words)
    assert status == 2
    assert answer["status"] == "failed" and answer["run_id"] is None and answer["outputs"] == {}
    assert sentence in answer["error"] and sentence in errors
    assert not runs.listing(), "nothing was submitted"


def test_a_home_that_cannot_be_written_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LYCEUM_HOME", str(tmp_path / "file" / "home"))
    status, answer, errors = said(capsys, "data")
    assert status == 2 and "can't be written" in answer["error"] and "Traceback" not in errors


def test_a_terminal_without_unicode_gets_the_last_line_too(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    status, answer, _ = core("train", "--method", "日本")
    assert status == 2 and answer["error"].startswith("Unknown tuning method '日本'")


def test_several_mistakes_are_told_at_once(capsys):
    _, answer, _ = said(capsys, "train", "--batch_size", "0", "--r", "0")
    assert [line.split("=")[0] for line in answer["error"].splitlines()] == ["r", "batch_size"]


@pytest.mark.parametrize("verb", ["data", "train", "merge", "evaluate", "judge", "demo"])
def test_help_tells_every_field_with_its_sentence(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for field, info in configure_kind(verb).model_fields.items():
        assert f"--{field}" in text and " ".join(info.description.split())[:40] in text


def test_help_tells_choices_and_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["merge", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"[one of: {', '.join(STRATEGIES)}; default: linear]" in text and "[one of: fp32, bf16; default: fp32]" in text


def test_help_tells_what_is_required(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "[required]" in capsys.readouterr().out


def configure_kind(verb):
    from core.verbs import VERBS

    assert issubclass(VERBS["train"].config, DataConfig)
    return VERBS[verb].config
