"""The process that stands for one job: it waits for the job's turn in its lane, starts it, and sees how it ends.

`python -m core.jobs.worker RUN_ID DESCRIPTOR` is started by whoever submits, resumes or reconciles (core/jobs/local.py), with
that process's environment: API keys are handed down and never written anywhere. It imports nothing heavy.
"""

import os
import subprocess
import sys
import time

from core import read_only, runs, store
from core.jobs import endings, locks
from core.jobs.executor import lanes
from core.runs import Run
from core.workspace import Workspace

PATIENCE_SECONDS = 0.1
SHORT_SECONDS = 60.0
MOST_SHORT = 5
"""Lives of a process on Ray, each shorter than SHORT_SECONDS, after which its run fails."""


def main(run_id: str, descriptor: int) -> None:
    """Detach, wait for the turn, run the job in a child, and say so if the child could not say itself how it ended."""
    read_only.refuse("Starting a job")
    if os.fork():
        os._exit(0)
    with store.told(run_id):
        _see_to(run_id, descriptor)


def _see_to(run_id: str, descriptor: int) -> None:
    lane = wait_for_turn(run_id)
    if lane is None:
        return
    for run in runs.listing(status="running"):
        endings.fail_if_dead(run.run_id)
    tries = Tries(run_id)
    while tries.again(status := _execute(run_id, descriptor, lane)):
        pass
    endings.fail(run_id, status)


class Tries:
    """How often a run's process is started: once; on Ray again when it dies, since it only follows the cluster and dies with its head."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._short = 0
        self._begun = time.monotonic()

    def again(self, status: int) -> bool:
        """Queue a run whose process has just ended without saying how the run ended, unless it dies again and again."""
        self._short = self._short + 1 if time.monotonic() - self._begun < SHORT_SECONDS else 1
        self._begun = time.monotonic()
        run = runs.read(self._run_id)
        if run.executor != "ray" or run.status != "running" or self._short > MOST_SHORT:
            return False
        run = runs.update(run.run_id, only_if="running", status="queued", pid=None)
        if run.status == "queued":
            Workspace(run).say(
                f"The process that follows the cluster ended (exit status {status}): often its head is gone. Starting again."
            )
        return run.status == "queued"


def _execute(run_id: str, *descriptors: int) -> int:
    """Run the job in a child, which inherits the locks, and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "core.jobs.execute", run_id],
        env={"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | os.environ,
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
        check=False,
    ).returncode


def wait_for_turn(run_id: str) -> int | None:
    """Take the lane's lock when no older job waits for it. None when the run is no longer queued (cancelled while waiting)."""
    while (run := runs.read(run_id)).status == "queued":
        for place in lanes(run.lane):
            lane = locks.try_to_take(place)
            if lane is not None:
                if not ahead(run):
                    return lane
                os.close(lane)
        time.sleep(PATIENCE_SECONDS)
    return None


def ahead(run: Run) -> list[Run]:
    """Older jobs that wait in the same lane, newest first. One whose worker was killed holds nobody up until it has a new one."""
    queued = runs.listing(status="queued")
    return [each for each in queued if each.lane == run.lane and each.run_id < run.run_id and endings.alive(each)]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
