"""Runs whose home is a store: told to others while they go on."""

import subprocess
import sys
import time

import pytest

from core import paths, runs, store
from core.errors import UserError
from core.jobs import local, locks
from core.store import incoming, publish, running
from core.store.marker import Thing
from tests.core.store.seeing import seen, wait_for
from tests.s3 import SECRET


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


def test_a_run_whose_machine_is_lost_is_told_and_can_be_resumed_elsewhere(napping, there, here, asleep, process, until, monkeypatch):
    run = napping(seconds=20)
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
    until(run, "done", seconds=60)
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
