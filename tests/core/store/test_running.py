"""Runs whose home is a store: told to others while they go on, and not hurt by a store that is away, slow or wrong."""

import json
import os
import re
import subprocess
import sys
import time

import pytest

from core import paths, results, runs, store
from core.config import DemoConfig
from core.errors import UserError
from core.jobs import local, locks
from core.store import away, incoming, publish, running
from core.store.marker import Thing
from tests.s3 import SECRET


@pytest.fixture
def napping(here, naps, nap):
    """Submit a nap on this machine."""
    yield nap
    here.enter()


@pytest.fixture
def up_again(s3):
    """Whatever happens to it, the next test finds the server as it was."""
    yield s3
    if s3.process:
        s3.go_on()
    else:
        s3.start()


def seen(run, *status, seconds=30.0):
    """Fetch until the run has this status on this machine."""
    until = time.monotonic() + seconds
    while True:
        incoming.fetch(20.0)
        found = [each for each in runs.listing() if each.run_id == run.run_id and each.status in status]
        if found:
            return found[0]
        assert time.monotonic() < until, [each.status for each in runs.listing()]
        time.sleep(0.2)


def said(run):
    return " ".join(event["message"] for event in runs.read_events(run.run_id, "say"))


def test_another_machine_sees_a_run_go_on_and_takes_it_neither_for_dead_nor_for_its_own(napping, there, here, asleep):
    run = napping(seconds=8, publish="mine")
    asleep(run)
    there.enter()
    seen(run, "running")
    assert runs.read_events(run.run_id, "progress")
    assert local.reconcile()[0].status == "running"
    assert store.elsewhere(run.run_id) == "here"
    with pytest.raises(UserError, match=f"'{run.run_id}' is on the machine here, so it can't be cancelled from here"):
        local.cancel(run.run_id)
    with pytest.raises(UserError, match="is running, so it can't be removed"):
        local.remove(run.run_id)
    done = seen(run, "done")
    assert done.outputs["tries"] == 1
    assert (paths.adapters() / "mine" / "run.json").exists()
    assert (done.path / "half.csv").read_text() == "half"
    assert not (done.path / "work").exists()
    here.enter()
    assert store.elsewhere(run.run_id) is None


def test_a_run_that_waits_in_line_is_seen_and_not_begun_by_another_machine(napping, there, here, asleep, process):
    first, second = napping(seconds=6), napping()
    asleep(first)
    there.enter()
    seen(second, "queued")
    local.reconcile()
    time.sleep(1)
    assert runs.read(second.run_id).status == "queued"
    assert seen(second, "done")


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_store_that_is_away_or_silent_is_waited_for(how, up_again, napping, there, asleep, until):
    run = napping(seconds=2, publish="mine")
    asleep(run)
    getattr(up_again, how)()
    time.sleep(8)
    waiting = runs.read(run.run_id)
    assert waiting.status == "running", "it says done when the store has it"
    if how == "kill":
        assert "has been away since" in said(run) and "Waiting for it." in said(run)
    getattr(up_again, "start" if how == "kill" else "go_on")()
    done = until(run, "done", seconds=60)
    assert done.outputs["tries"] == 1
    if how == "kill":
        assert "The store answers again, after" in said(run)
    there.enter()
    seen(run, "done")
    assert (paths.adapters() / "mine").exists()


def test_when_patience_ends_the_run_fails_and_resumed_it_only_brings_up(up_again, napping, there, here, asleep, until, monkeypatch):
    monkeypatch.setenv(away.PATIENCE, "2")
    run = napping(seconds=1, publish="mine")
    asleep(run)
    up_again.kill()
    failed = until(run, "failed", seconds=30)
    assert failed.fault == "user"
    assert "longer than LYCEUM_STORE_PATIENCE=2 s" in failed.error
    assert f"python -m core jobs --resume {run.run_id}" in failed.error
    up_again.start()
    local.resume(run.run_id)
    assert until(run, "done", seconds=30).outputs["tries"] == 1
    assert len(runs.read_events(run.run_id, "published")) == 1, "nothing is computed twice"
    there.enter()
    seen(run, "done")
    assert (paths.adapters() / "mine").exists()


def test_a_cancelled_run_takes_back_what_it_had_brought_up(napping, there, here, asleep):
    run = napping(seconds=60, publish="mine")
    asleep(run)
    there.enter()
    seen(run, "running")
    assert (paths.adapters() / "mine").exists()
    here.enter()
    local.cancel(run.run_id)
    there.enter()
    seen(run, "cancelled")
    assert not (paths.adapters() / "mine").exists()
    assert publish.read(Thing("adapters", "mine")) is None


def test_a_killed_run_is_told_as_failed_and_can_be_resumed_on_another_machine(napping, there, here, asleep, process, until):
    run = napping(seconds=8)
    asleep(run)
    for module in ("worker", "execute"):
        process(module, run).kill()
    end = time.monotonic() + 10
    while runs.read(run.run_id).status == "running":
        local.reconcile()
        assert time.monotonic() < end
    store.fetch()
    there.enter()
    seen(run, "failed")
    local.resume(run.run_id)
    done = until(run, "done", seconds=30)
    assert done.outputs["tries"] == 1, "this machine has not what was half-made on the other one"
    here.enter()
    seen(run, "done")
    assert store.elsewhere(run.run_id) == "there"


def test_a_removed_run_is_gone_everywhere(napping, there, here, until):
    first, run = napping(), napping()
    for each in (first, run):
        until(each, "done")
    there.enter()
    seen(run, "done")
    here.enter()
    local.remove(run.run_id)
    there.enter()
    incoming.fetch()
    assert [each.run_id for each in runs.listing()] == [first.run_id]


SUBMIT = """
import sys
from naps import NapConfig
from core import runs, store
from core.jobs import local, locks
store.fetch()
print(*[local.submit("desk-nap", NapConfig()).run_id for _ in range(5)])
"""


def test_two_machines_that_submit_at_once_do_not_disturb_each_other(here, there, naps, until):
    submitted = []
    for machine in (here, there):
        machine.enter()
        submitted.append(subprocess.Popen([sys.executable, "-c", SUBMIT], cwd=paths.PROJECT, stdout=subprocess.PIPE, text=True))
    ids = [run_id for each in submitted for run_id in each.communicate()[0].split()]
    assert len(set(ids)) == 10
    for machine in (here, there):
        machine.enter()
        for run_id in ids:
            end = time.monotonic() + 60
            while run_id not in [run.run_id for run in runs.listing(status="done")]:
                incoming.fetch()
                assert time.monotonic() < end
                time.sleep(0.2)


def test_keys_are_written_nowhere(napping, s3, url, here, until):
    run = napping(publish="mine")
    until(run, "done")
    wait_for(lambda: not locks.held(run.run_id))  # its worker has told the end, and swept
    written = [path.read_bytes() for path in here.work.rglob("*") if path.is_file()]
    bucket = s3.client()
    stored = [bucket.cat_file(key) for key in bucket.find(url.removeprefix("s3://"))]
    assert len(written) > 4 and len(stored) > 4
    assert not any(SECRET.encode() in text for text in [*written, *stored])


def command(*words, **environment):
    """The command line in a process of its own: exit status, what it says, its last line, seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "core", *words], cwd=paths.PROJECT, env=os.environ | environment, capture_output=True, text=True
    )
    return done.returncode, done.stderr, json.loads(done.stdout.splitlines()[-1]), time.monotonic() - began


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, r"refuses the keys for the store s3://.* Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, r"refuses the keys for the store s3://"),
        ({"LYCEUM_HOME": "s3://no-such-bucket/x"}, r"has no such bucket: the store s3://no-such-bucket/x"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, r"was never reached from here. Check LYCEUM_HOME, AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL": "http://nowhere.invalid"}, r"was never reached from here"),
        ({"AWS_ENDPOINT_URL": "no address"}, r"can't be used for the store .*Check LYCEUM_HOME and AWS_ENDPOINT_URL"),
        ({"LYCEUM_HOME": "memory://x"}, r"is gone when its process ends"),
        ({"LYCEUM_HOME": "nonsense://x"}, r"nonsense:// can't be opened"),
    ],
)
def test_what_no_waiting_mends_is_one_sentence_at_once(wrong, sentence, here, tmp_path):
    status, told, last, seconds = command("jobs", LYCEUM_WORK=str(tmp_path / "new"), **wrong)
    assert status == 2
    assert re.search(sentence, told), told
    assert len(told.strip().splitlines()) == 1 and last["status"] == "failed"
    assert SECRET not in told


def test_a_command_goes_on_with_what_is_here_when_a_known_store_is_away(up_again, napping, until):
    run = napping()
    until(run, "done")
    store.fetch()
    up_again.kill()
    status, told, last, _ = command("jobs")
    assert status == 0 and last["outputs"]["runs"] == [{"run_id": run.run_id, "status": "done"}]
    assert "has been away since" in told and "This is what this machine has of it." in told


def test_a_page_never_waits_and_says_that_the_store_is_away(up_again, napping, until):
    until(napping(), "done")
    store.fetch()
    up_again.pause()
    began = time.monotonic()
    assert store.refresh() == []
    assert time.monotonic() - began < 1.0
    up_again.go_on()
    wait_for(lambda: not store._looking.locked())
    up_again.kill()
    store._looked = float("-inf")
    store.refresh()
    wait_for(lambda: store.refresh())
    assert "has been away since" in store.refresh()[0] and "Pages show what this machine has of it." in store.refresh()[0]


def wait_for(what, seconds=40.0):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture
def tiny_study(tiny_base, tiny_data, monkeypatch):
    where = {"data": str(tiny_data), "base_model": str(tiny_base)}
    evaluate = {"limit": 1, "max_new_tokens": 4, "metrics": ["perplexity", "bleu"], "device": "cpu"}
    tiny = {"where": where, "train": {"max_steps": 2, "device": "cpu"}, "evaluate": evaluate}
    monkeypatch.setenv("TINY_STUDY", json.dumps(tiny))


def scores(run):
    return results.read(run.path / "scores.csv", results.Score).drop(columns="run")


def test_a_study_whose_store_dies_in_the_middle_ends_equal_to_one_at_home(
    up_again, here, there, naps, tiny_study, until, tmp_path, monkeypatch
):
    run = local.submit("tiny-demo", DemoConfig())
    wait_for(lambda: runs.listing("evaluate", parent=run.run_id))
    up_again.kill()
    time.sleep(12)
    up_again.start()
    until(run, "done", seconds=120)
    there.enter()
    seen(run, "done")
    stages = {stage.verb: stage for stage in runs.listing(parent=run.run_id)}
    away_from_home = scores(stages["evaluate"])
    assert (stages["report"].path / "report.html").exists()
    monkeypatch.setenv("LYCEUM_HOME", str(tmp_path / "plain"))
    plain = until(local.submit("tiny-demo", DemoConfig()), "done", seconds=120)
    assert away_from_home.equals(scores(runs.listing("evaluate", parent=plain.run_id)[0]))


def test_a_plain_home_never_loads_a_store_library(home):
    code = (
        "import sys; from core.__main__ import main; main(['jobs']); "
        "from core import store; store.fetch(); store.refresh(); "
        "print([name for name in ('fsspec', 's3fs', 'sqlite3', 'core.store.remote') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert not (home / ".store").exists()


def test_a_run_whose_machine_is_lost_is_told_and_can_be_resumed_elsewhere(napping, there, here, asleep, process, until, monkeypatch):
    run = napping(seconds=8)
    asleep(run)
    there.enter()
    seen(run, "running")
    for module in ("worker", "execute"):
        process(module, run).kill()
    monkeypatch.setattr(running, "SILENT_SECONDS", 0.0)
    local.reconcile()
    lost = runs.read(run.run_id)
    assert lost.status == "failed" and "The machine here has not been heard of since" in lost.error
    local.resume(run.run_id)
    until(run, "done", seconds=30)
    wait_for(lambda: publish.read(Thing("results", run.run_id)).status == "done")
    here.enter()
    assert store.fetch() == []
    assert runs.read(run.run_id).status == "done", "the machine that comes back takes the word of who went on"


def test_a_run_whose_folder_is_not_here_is_resumed_where_it_is(here, there):
    run = runs.create("train", {})
    runs.update(run.run_id, status="failed", cwd="/no/such/folder")
    running.rest()
    there.enter()
    seen(run, "failed")
    with pytest.raises(UserError, match="was submitted in the folder /no/such/folder.* Resume it on here, or"):
        local.resume(run.run_id)
    assert runs.read(run.run_id).status == "failed"


def test_a_working_copy_is_of_one_store(here, monkeypatch):
    store.fetch()
    monkeypatch.setenv("LYCEUM_HOME", os.environ["LYCEUM_HOME"] + "-other")
    with pytest.raises(UserError, match="is the working copy of another store"):
        store.fetch()
