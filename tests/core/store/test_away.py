"""A store that is away, silent or wrong: runs wait for it, commands and pages say so."""

import json
import os
import re
import subprocess
import sys
import time

import pytest

from core import paths, results, runs, store
from core.config import DemoConfig
from core.jobs import local
from core.store import away
from tests.core.store.seeing import said, seen, wait_for
from tests.s3 import SECRET


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
