"""kill -9 of the worker, the job, or both: no job is lost, none is run twice, and what died is marked."""

import threading

from core import runs
from core.jobs import local


def test_a_killed_job_is_marked_at_once_with_its_last_log_lines_and_the_next_one_runs(nap, until, asleep, process):
    run, waiting = nap(seconds=60), nap()
    asleep(run)
    process("execute", run).kill()
    failed = until(run, "failed")
    assert "was killed (signal 9)" in failed.error
    assert failed.error.endswith("Last lines of its log:\nabout to sleep")
    assert failed.fault == "bug"
    until(waiting, "done")


def test_a_killed_worker_does_not_end_its_job_nor_let_another_one_in(nap, until, asleep, process, trace):
    run, waiting = nap(seconds=1.0), nap()
    asleep(run)
    process("worker", run).kill()
    until(waiting, "done")
    assert runs.read(run.run_id).status == "done"
    assert [(what, run_id) for what, run_id, _ in trace()] == [
        ("start", run.run_id),
        ("end", run.run_id),
        ("start", waiting.run_id),
        ("end", waiting.run_id),
    ]


def test_when_both_are_killed_whoever_looks_marks_it_and_it_can_be_resumed(nap, until, asleep, process):
    run = nap(seconds=1.0)
    asleep(run)
    process("worker", run).kill()
    process("execute", run).kill()
    assert runs.read(run.run_id).status == "running", "nobody has looked yet"
    assert _settles(run, "failed")
    assert "process is gone" in runs.read(run.run_id).error and "about to sleep" in runs.read(run.run_id).error
    assert local.resume(run.run_id).run_id == run.run_id
    assert until(run, "done").outputs["tries"] == 2, "the scratch folder was kept"


def test_the_next_worker_marks_what_died_before_it(nap, until, asleep, process):
    run, waiting = nap(seconds=60), nap()
    asleep(run)
    process("worker", run).kill()
    process("execute", run).kill()
    until(waiting, "done")
    assert runs.read(run.run_id).status == "failed"


def test_a_job_whose_waiting_worker_was_killed_is_not_lost(nap, until, asleep, process, trace):
    first, orphan = nap(seconds=0.5), nap()
    process("worker", orphan).kill()
    until(first, "done")
    assert runs.read(orphan.run_id).status == "queued"
    lookers = [threading.Thread(target=local.reconcile) for _ in range(4)]
    for each in lookers:
        each.start()
    for each in lookers:
        each.join()
    until(orphan, "done")
    assert [run_id for what, run_id, _ in trace() if what == "start"] == [first.run_id, orphan.run_id]


def test_two_who_resume_at_once_start_it_once(nap, until, asleep, process, trace):
    run = nap(seconds=0.5)
    asleep(run)
    process("execute", run).kill()
    until(run, "failed")
    resumers = [threading.Thread(target=local.resume, args=(run.run_id,)) for _ in range(3)]
    for each in resumers:
        each.start()
    for each in resumers:
        each.join()
    assert until(run, "done").outputs["tries"] == 2
    assert [what for what, _, _ in trace()] == ["start", "start", "end"]


def test_the_stage_of_a_killed_run_is_marked_too(nap, until, asleep, process):
    parent = nap(seconds=60)
    asleep(parent)
    stage = runs.create("nap", {}, parent=parent.run_id)
    runs.update(stage.run_id, status="running")
    local.reconcile()
    assert runs.read(stage.run_id).status == "running", "its parent lives"
    process("execute", parent).kill()
    until(stage, "failed")


def _settles(run, status):
    """Killed processes are gone a moment after the signal."""
    for _ in range(100):
        local.reconcile()
        if runs.read(run.run_id).status == status:
            return True
    return False
