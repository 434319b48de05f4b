"""Jobs on this machine: submit a config, follow it, cancel it, resume it. One job at a time per lane, oldest first.

There is no daemon. Each job has a small process of its own, its worker (worker.py), which waits until the lane is free and no
older job waits, and then runs the verb in a child process (execute.py) in its own process group. Both are detached: they outlive
the terminal, the browser and Streamlit. Two kinds of locks (locks.py) say all that must be known:

- the run's lock, held by its worker and child: somebody is in charge of this run;
- the lane's lock, held by the worker whose turn it is and by its child: the lane is taken.

The races, and why no job is lost or run twice:

- *Two submit at once*: two runs, two workers; the lane's lock lets one through, and it gives way if an older one waits.
- *Two resume or reconcile the same run at once*: who starts a worker takes the run's lock first, and the worker inherits it; the
  other one finds it taken. There is no moment in between at which a queued run that has a worker looks as if it had none.
- *A worker is killed while its job runs*: the child holds both locks, goes on, and says itself how the run ended.
- *A child is killed*: its worker marks the run as failed, with the last lines of the log. *Both are killed*: both locks are free,
  so whoever looks next (`reconcile`: the jobs page, the command line, the next worker) marks it.
- *A worker is killed while it waits*: the run is queued and its lock is free; `reconcile` starts another worker.
- *A job starts just when it is cancelled*: 'queued' becomes 'running' or 'cancelled' under the lock of run.json, never both.
- *A job is done just when it is cancelled*: likewise; who comes second finds the other's word and leaves it.
- *A cancelled job is resumed while its process still dies*: `resume` waits for the run's lock.
- *A run is marked dead just when it is resumed*: status and lock are read together under the lock of run.json.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from core import paths, read_only, runs, store
from core.config import Config
from core.errors import UserError
from core.jobs import endings, locks
from core.jobs.executor import check, chosen
from core.runs import ENDED, Run
from core.verbs import VERBS

TERM_SECONDS = 1.0
"""How long a cancelled job may take to end by itself."""
KILL_SECONDS = 2.5
"""How long its end may take after SIGKILL."""
POLL_SECONDS = 0.2
LOOK_SECONDS = 2.0
"""How often somebody who follows looks whether the processes live."""


def submit(verb: str, config: Config, processes: int = 1) -> Run:
    """Queue a job and start its worker. Returns at once. `processes`: as many as a launcher has started for it."""
    read_only.refuse("Starting a job")
    executor = chosen() if VERBS[verb].dealt and processes == 1 else "local"
    lane = "ray" if executor == "ray" else VERBS[verb].lane
    run = runs.new(verb, config.model_dump(mode="json"), lane=lane, processes=processes, executor=executor)
    descriptor = locks.take(run.run_id)
    try:
        runs.write(run)
        _start_worker(run, descriptor)
    except OSError:
        shutil.rmtree(run.path)
        raise
    finally:
        os.close(descriptor)
    return run


def resume(run_id: str, processes: int = 1) -> Run:
    """Queue a failed or cancelled run again, in its own folder; one that waits or runs goes on; one that is done stays done."""
    read_only.refuse("Resuming a job")
    reconcile()
    until = time.monotonic() + TERM_SECONDS + KILL_SECONDS
    while (run := _job(runs.read(run_id))).status in ("failed", "cancelled"):
        descriptor = locks.try_to_take(run.run_id)
        if descriptor is not None:
            return _start_again(run.run_id, descriptor, processes)
        if time.monotonic() > until:
            raise UserError(f"Run '{run.run_id}' is {run.status}, but its process has not ended yet. Try again in a few seconds.")
        time.sleep(0.05)
    return run


def cancel(run_id: str) -> Run:
    """Take a waiting job out of the queue, or end a running one within 5 s. What it half made is removed, its log remains."""
    read_only.refuse("Cancelling a job")
    reconcile()
    with runs.locked(run_id):
        before = _job(runs.read(run_id))
        if before.status not in ENDED:
            store.refuse_elsewhere(before, "cancelled")
        if before.status in ("done", "failed"):
            raise UserError(f"Run '{before.run_id}' is {before.status} already, so there is nothing to cancel.")
        if before.status != "cancelled":
            runs.write(replace(before, status="cancelled", finished_at=runs.now()))
    if before.status == "running":
        end_process(before)
    endings.clear(run_id)
    return runs.read(run_id)


def remove(run_id: str) -> None:
    """Remove the folder of a run that has ended, and those of its stages. What it published stays."""
    read_only.refuse("Removing a run")
    reconcile()
    run = runs.read(run_id)
    if run.status not in ENDED:
        raise UserError(f"Run '{run_id}' is {run.status}, so it can't be removed. Cancel it first: python -m core jobs --cancel {run_id}")
    for each in [*runs.listing(parent=run.run_id), run]:
        store.remove_run(each.run_id)
        runs.remove(each.run_id)


def reconcile() -> list[Run]:
    """Look after what killed processes left: mark dead runs as failed, give a queued one without a worker a new one.

    Returns the runs that wait or run, newest first. In read-only mode it only looks: runs are another process's to mend.
    """
    active = [run for run in runs.listing() if run.status in ("queued", "running")]
    if read_only.active():
        return active
    for run in active:
        if run.status == "running" or store.elsewhere(run.run_id):
            endings.fail_if_dead(run.run_id)
        elif run.parent is None:
            _adopt(run.run_id)
    return [run for run in runs.listing() if run.status not in ENDED] if active else []


def follow(run_id: str, since: int = 0) -> Iterator[dict[str, Any]]:
    """The run's events as they come, from this byte of events.jsonl on, until the run has ended."""
    looked = 0.0
    while True:
        if time.monotonic() - looked > LOOK_SECONDS:
            store.refresh()
            reconcile()
            looked = time.monotonic()
        ended = runs.read(run_id).status in ENDED
        events, since = runs.events_since(run_id, since)
        yield from events
        if ended:
            return
        time.sleep(POLL_SECONDS)


def newest(*status: runs.Status) -> Run:
    """The newest job with one of these statuses: what 'last' means for resume and cancel."""
    reconcile()
    for run in runs.listing():
        if run.parent is None and run.status in status:
            return run
    raise UserError(f"No run in {paths.results()} is {' or '.join(status)}, so there is no last one. List them with: python -m core jobs")


def _job(run: Run) -> Run:
    if run.parent is not None:
        raise UserError(f"Run '{run.run_id}' is a stage of '{run.parent}' and has no process of its own. Use that run's id.")
    return run


def _start_again(run_id: str, descriptor: int, processes: int) -> Run:
    """Queue the run again, unless somebody else did so (and it may even be done) before this process got the run's lock.

    Raises UserError where this process can't use the run's executor.
    """
    try:
        run = runs.read(run_id)
        if run.status in ("failed", "cancelled"):
            check(run.executor)
            store.take_over(run)
            run = runs.requeue(run_id, processes)
            _start_worker(run, descriptor)
        return run
    finally:
        os.close(descriptor)


def _adopt(run_id: str) -> None:
    descriptor = locks.try_to_take(run_id)
    if descriptor is None:
        return
    try:
        run = runs.read(run_id)
        if run.status == "queued":
            _start_worker(run, descriptor)
    finally:
        os.close(descriptor)


def _start_worker(run: Run, descriptor: int) -> None:
    """The worker forks away at once (worker.py), so the process that is waited for here ends in a moment."""
    with (run.path / "log.txt").open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", "core.jobs.worker", run.run_id, str(descriptor)],
            cwd=paths.PROJECT,
            env=os.environ | paths.environment() | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(descriptor,),
            start_new_session=True,
            check=True,
        )


def end_process(run: Run) -> None:
    """SIGTERM to the job's process group, then SIGKILL to what is left of it; the run's lock is free when the job is gone."""
    assert run.pid is not None, "a running run has a process"
    for how, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(run.pid, how)
        until = time.monotonic() + seconds
        while endings.alive(run) and time.monotonic() < until:
            time.sleep(0.02)
