"""Runs in several processes: how they end. Real launchers, real processes; what trains in them is tested in core/train."""

import json
import signal
import subprocess
import sys
import time

import pytest

from core import paths, runs
from core.jobs import launch

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "core", "--"]


def start(*words):
    return subprocess.Popen([*TORCHRUN, *words], cwd=paths.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    """The JSON of the last line, and standard error."""
    out, errors = process.communicate(timeout=60)
    assert len(out.splitlines()) == 1, out
    return json.loads(out), errors


def test_two_processes_nap_as_one_run(naps, trace):
    process = start("shared-nap", "--seconds", "0.2")
    answer, errors = ended(process)
    assert (process.returncode, answer["status"], answer["outputs"]["tries"]) == (0, "done", 1), errors
    assert [what for what, *_ in trace()] == ["start", "end"], "the first process alone writes"
    assert runs.read(answer["run_id"]).processes == 2 and not (runs.folder(answer["run_id"]) / "work").exists()


@pytest.mark.parametrize(
    ("end", "fault", "sentence"),
    [
        ("user error", "user", "The other bed is too short."),
        ("bug", "bug", "ZeroDivisionError: no other bed. This is a bug"),
    ],
)
def test_an_error_in_the_other_process_ends_all(naps, end, fault, sentence):
    process = start("shared-nap", "--seconds", "60", "--other_end", end)
    answer, errors = ended(process)
    assert process.returncode != 0 and answer["status"] == "failed"
    assert answer["error"].startswith(sentence) and sentence in errors
    run = runs.read(answer["run_id"])
    assert (run.status, run.fault, run.error) == ("failed", fault, answer["error"])
    assert ("Traceback" in (run.path / "log.txt").read_text()) == (end == "bug")


def test_a_run_of_several_is_resumed_by_several(naps):
    process = start("shared-nap", "--seconds", "3", "--other_end", "killed")
    failed, _ = ended(process)
    assert failed["status"] == "failed" and failed["error"].startswith("One of the run's 2 processes ended without a word")
    answer, errors = ended(start("jobs", "--resume", "last"))
    assert (answer["run_id"], answer["status"], answer["outputs"]["tries"]) == (failed["run_id"], "done", 2), errors
    assert runs.read(failed["run_id"]).processes == 2


def test_ctrl_c_cancels_the_run_of_all(naps):
    process = start("shared-nap", "--seconds", "60")
    while not (started := runs.listing(status="running")) or not runs.read_events(started[0].run_id):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    answer, _ = ended(process)
    assert answer == {"run_id": started[0].run_id, "status": "cancelled", "outputs": {}}
    assert {path.name for path in started[0].path.iterdir()} == {"run.json", "events.jsonl", "log.txt"}


def test_what_several_processes_cannot_do_is_told_once(naps):
    process = start("nap")
    answer, errors = ended(process)
    assert answer["status"] == "failed" and answer["error"].startswith("Several processes train") and not runs.listing()
    assert errors.count("Several processes train") == 1


def test_a_run_of_several_that_another_window_takes_up_says_what_it_waits_for(naps, until):
    from core.jobs import local
    from core.verbs import VERBS

    run = local.submit("shared-nap", VERBS["shared-nap"].config(seconds=0.1), processes=2)
    failed = until(run, "failed")
    assert failed.fault == "user" and "waits for 2 processes" in failed.error and f"jobs --resume {run.run_id}" in failed.error
    local.resume(run.run_id)
    assert until(run, "done").processes == 1


def test_a_launcher_that_starts_one_process_is_told(monkeypatch):
    assert launch.note() is None
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert "accelerate launch --cpu starts one process" in launch.note()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert launch.note() is None and (launch.size(), launch.rank()) == (2, 1)
