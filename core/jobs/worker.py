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
from core.runs import Run

PATIENCE_SECONDS = 0.1


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
    child = subprocess.Popen(
        [sys.executable, "-m", "core.jobs.execute", run_id],
        env={"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | os.environ,
        stdin=subprocess.DEVNULL,
        pass_fds=(descriptor, lane),
        start_new_session=True,
    )
    endings.fail(run_id, child.wait())


def wait_for_turn(run_id: str) -> int | None:
    """Take the lane's lock when no older job waits for it. None when the run is no longer queued (cancelled while waiting)."""
    while (run := runs.read(run_id)).status == "queued":
        lane = locks.try_to_take(run.lane)
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
