"""Submit, order, cancel, resume, remove: with real processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import paths, runs
from core.errors import UserError
from core.jobs import endings, local


def test_a_job_runs_detached_in_its_own_process_group(nap, until):
    started = time.monotonic()
    run = nap(seconds=0.5)
    assert time.monotonic() - started < 2
    running = until(run, "running")
    assert os.getpgid(running.pid) == running.pid != os.getpgid(0)
    assert os.getsid(running.pid) != os.getsid(0)
    done = until(run, "done")
    assert done.outputs["tries"] == 1
    assert done.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert done.started_at and done.finished_at and done.created_at <= done.started_at < done.finished_at
    assert "about to sleep" in runs.log_tail(run.run_id)
    assert not (run.path / "work").exists()


def test_jobs_of_a_lane_run_one_after_the_other_oldest_first(nap, until, trace):
    submitted = [nap(seconds=0.2) for _ in range(4)]
    for run in submitted:
        until(run, "done")
    assert [(what, run_id) for what, run_id, _ in trace()] == [(what, run.run_id) for run in submitted for what in ("start", "end")]


def test_lanes_run_beside_each_other(nap, until):
    first, second = nap(seconds=5), nap(verb="desk-nap", seconds=0)
    until(first, "running")
    until(second, "done")
    assert runs.read(first.run_id).status == "running"


def test_two_processes_that_submit_at_once_lose_nothing_and_run_nothing_twice(nap, until, trace):
    code = "import naps; from core.jobs import local; [local.submit('nap', naps.NapConfig(seconds=0.1)) for _ in range(3)]"
    submitters = [subprocess.Popen([sys.executable, "-c", code], cwd=paths.PROJECT) for _ in range(2)]
    assert [each.wait(20) for each in submitters] == [0, 0]
    for run in runs.listing():
        until(run, "done")
    noted = trace()
    assert len(runs.listing()) == 6 and len(noted) == 12
    pairs = [(noted[i][0], noted[i + 1][0], noted[i][1] == noted[i + 1][1]) for i in range(0, 12, 2)]
    assert pairs == [("start", "end", True)] * 6, "jobs overlapped"


def test_a_job_has_its_submitters_folder_and_environment(nap, until, tmp_path, monkeypatch):
    (tmp_path / "note.txt").write_text("relative")
    nap(seconds=0.5)  # its worker has no key
    with monkeypatch.context() as there:
        there.chdir(tmp_path)
        there.setenv("GROQ_API_KEY", "key-of-the-submitter")
        run = nap(read="note.txt")
    assert until(run, "done").outputs == {"tries": 1, "key": "key-of-the-submitter", "text": "relative"}
    written = (path.read_bytes() for path in paths.results().rglob("*") if path.is_file() and path != run.path / "run.json")
    assert not any(b"key-of-the-submitter" in content for content in written), "keys are written nowhere (the nap's own output aside)"


def test_an_error_of_the_person_is_told_as_it_stands(nap, until):
    run = until(nap(end="user error"), "failed")
    assert (run.error, run.fault) == ("The bed is too short (1 m). Take a longer one.", "user")
    assert "Traceback" not in runs.log_tail(run.run_id, 100)
    assert (run.path / "work" / "tries").exists(), "scratch is kept for resuming"


def test_a_bug_keeps_its_traceback_in_the_log(nap, until):
    run = until(nap(end="bug"), "failed")
    assert run.fault == "bug" and run.error.startswith("ZeroDivisionError: no bed at all.") and "\n" not in run.error
    assert runs.log_tail(run.run_id, 100).count("Traceback") == 1
    assert "naps.py" in runs.log_tail(run.run_id, 100)


def test_follow_yields_every_event_and_ends(nap):
    events = list(local.follow(nap(seconds=0.3).run_id))
    assert [(event["kind"], event["done"]) for event in events] == [("progress", 0), ("progress", 0.3)]


@pytest.mark.parametrize("end", ["done", "deaf"])
def test_cancel_ends_a_running_job_within_5_s_and_leaves_nothing(nap, until, asleep, end):
    run, waiting = nap(seconds=60, end=end, publish="half-published"), nap()
    pid = asleep(run).pid
    assert (paths.adapters() / "half-published").exists()
    started = time.monotonic()
    cancelled = local.cancel(run.run_id)
    assert time.monotonic() - started < 5
    assert cancelled.status == "cancelled" and cancelled.finished_at
    assert {path.name for path in run.path.iterdir()} == {"run.json", "events.jsonl", "log.txt"}
    assert not (paths.adapters() / "half-published").exists()
    assert not _group_lives(pid)
    assert until(waiting, "done").outputs["tries"] == 1


def test_cancel_takes_a_waiting_job_out_and_resume_puts_it_back(nap, until, trace):
    first, second = nap(seconds=1.5), nap()
    until(first, "running")
    assert local.cancel(second.run_id).status == "cancelled"
    assert local.cancel(second.run_id).status == "cancelled", "cancelling twice is no error"
    assert local.resume(second.run_id).status == "queued"
    until(second, "done")
    assert [run_id for what, run_id, _ in trace() if what == "start"] == [first.run_id, second.run_id]


def test_a_cancelled_job_is_resumed_from_the_start_in_its_own_folder(nap, until, asleep):
    run = nap(seconds=1.0)
    asleep(run)
    local.cancel(run.run_id)
    resumed = local.resume(run.run_id)
    assert resumed.run_id == run.run_id
    assert until(run, "done").outputs["tries"] == 1


def test_a_failed_job_is_resumed_with_its_scratch(nap, until):
    run = until(nap(end="bug"), "failed")
    local.resume(run.run_id)
    again = until(run, "failed")
    assert (again.path / "work" / "tries").read_text() == "xx"
    assert again.fault == "bug"


def test_what_is_done_or_under_way_is_not_run_again(nap, until, trace):
    done = until(nap(), "done")
    assert local.resume(done.run_id) == done
    running = until(nap(seconds=1), "running")
    assert local.resume(running.run_id).status == "running"
    until(running, "done")
    assert len(trace()) == 4


def test_what_has_ended_cannot_be_cancelled_and_what_runs_cannot_be_removed(nap, until):
    done = until(nap(), "done")
    with pytest.raises(UserError, match="is done already, so there is nothing to cancel"):
        local.cancel(done.run_id)
    running = nap(seconds=30)
    with pytest.raises(UserError, match="can't be removed. Cancel it first"):
        local.remove(running.run_id)
    local.remove(done.run_id)
    assert not done.path.exists()
    assert not list((paths.results() / ".locks").glob(f"{done.run_id}*"))


def test_last_means_the_newest_that_fits(nap, until):
    with pytest.raises(UserError, match="is queued or running, so there is no last one"):
        local.newest("queued", "running")
    failed = until(nap(end="bug"), "failed")
    done = until(nap(), "done")
    assert local.newest("failed", "cancelled", "running").run_id == failed.run_id
    assert local.newest("done").run_id == done.run_id


def test_a_stage_cannot_be_cancelled_or_resumed_by_itself(nap, until):
    parent = until(nap(seconds=5), "running")
    stage = runs.create("nap", {}, parent=parent.run_id)
    for act in (local.cancel, local.resume):
        with pytest.raises(UserError, match=f"is a stage of '{parent.run_id}'"):
            act(stage.run_id)
    assert endings.alive(stage), "it lives in its parent"


def test_cancel_clears_the_stages_too_but_keeps_those_that_are_done(nap, until):
    parent = until(nap(seconds=30), "running")
    done, half = (runs.create("nap", {}, parent=parent.run_id) for _ in range(2))
    runs.update(done.run_id, status="done")
    runs.update(half.run_id, status="running")
    for stage in (done, half):
        (stage.path / "table.csv").write_text("x")
    local.cancel(parent.run_id)
    assert runs.read(half.run_id).status == "cancelled" and not (half.path / "table.csv").exists()
    assert runs.read(done.run_id).status == "done" and (done.path / "table.csv").exists()


def _group_lives(pid: int) -> bool:
    """Zombies don't count: where nobody reaps orphans they stay for ever."""
    stats = []
    for folder in Path("/proc").glob("[0-9]*/stat"):
        try:
            stats.append(folder.read_text().rpartition(")")[2].split())
        except OSError:
            continue
    return any(int(fields[2]) == pid and fields[0] != "Z" for fields in stats)
