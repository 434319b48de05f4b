"""The process that does a job's work: `python -m core.jobs.execute RUN_ID`, started by the run's worker.

It leads its own process group, holds the run's and the lane's lock, and is the one who says in run.json how the run ended.
"""

import faulthandler
import os
import platform
import shutil
import signal
import sys
import traceback
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from math import ceil
from pathlib import Path
from typing import Any, NoReturn

from core import paths, read_only, runs, store
from core.errors import UserError, explained
from core.jobs import endings, launch
from core.jobs.configure import configure
from core.jobs.executor import check
from core.runs import Run
from core.verbs import VERBS
from core.workspace import Workspace

PACKAGES = (
    *("torch", "transformers", "peft", "bitsandbytes", "datasets", "numpy", "pandas"),
    *("bert_score", "sacrebleu", "rouge_score", "openai", "groq"),
)
"""Packages whose version a run records, if it used them."""


def main(run_id: str) -> None:
    """Claim the queued run and execute it. A run that is no longer queued (just cancelled) is left alone."""
    read_only.refuse("Starting a job")
    faulthandler.enable()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    heed_cpu_quota()
    run = claim(run_id)
    if run.pid != os.getpid() or run.status != "running":
        return
    os.chdir(paths.home() / run.cwd)
    try:
        execute(Workspace(run))
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Cancelled.")
    except BaseException:
        sys.exit(1)


def claim(run_id: str) -> Run:
    """Make a queued run this process's own."""
    return runs.update(run_id, only_if="queued", status="running", pid=os.getpid(), started_at=runs.now())


def execute(workspace: Workspace) -> Run:
    """Call the verb's function and record how the run ended. What it raised is raised again, for the run it may be a stage of."""
    run = workspace.run
    try:
        if run.processes > 1:
            _meet(run)
        if run.parent is None:
            for note in store.fetch(workspace.say):
                workspace.say(note)
        outputs = store.computed(run)
        if outputs is None:
            check(run.executor)  # an app that was started without RAY_ADDRESS may have adopted the run
            outputs = VERBS[run.verb].load()(configure(run.verb, run.config), workspace)
        if run.processes > 1:
            launch.part()
        store.settle(workspace, outputs)
    except KeyboardInterrupt:
        _ended(run, status="cancelled")
        endings.clear(run.run_id)
        raise
    except BaseException as raised:
        error = explained(raised)
        if isinstance(error, UserError):
            _ended(run, status="failed", fault="user", error=str(error))
            raise error from raised
        if run.parent is None:
            traceback.print_exc()
        _ended(run, status="failed", **(launch.word_of_another(run) or {"fault": "bug", "error": _sentence(error, run)}))
        raise
    shutil.rmtree(run.path / "work", ignore_errors=True)
    return _ended(run, status="done", outputs=outputs, versions=used_versions())


def take_part() -> int:
    """The work of any process but the first of a run in several. Returns its exit status.

    It ends at once when it is asked to, wherever it is: nothing here is its own.
    """
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, signal.SIG_DFL)
    heed_cpu_quota()
    run = launch.meet(None)
    with (run.path / "log.txt").open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    os.chdir(paths.home() / run.cwd)
    try:
        if store.computed(run) is None:
            VERBS[run.verb].load()(configure(run.verb, run.config), Workspace(run))
    except KeyboardInterrupt:
        return 130
    except BaseException as raised:
        return _told(explained(raised), run)
    launch.part()
    return 0


def used_versions() -> dict[str, str]:
    """Versions of Python and of the packages that this process has imported."""
    found = {"python": platform.python_version()}
    for package in sorted(set(PACKAGES) & set(sys.modules)):
        with suppress(PackageNotFoundError):
            found |= {package: runs.versions(package)[package]}
    return found


def _meet(run: Run) -> None:
    if launch.size() != run.processes:
        raise UserError(
            f"Run '{run.run_id}' waits for {run.processes} processes, and nobody starts them any more. Resume it: {launch.resume_hint(run)}"
        )
    launch.meet(run)


def _told(error: BaseException, run: Run) -> int:
    """Leave word of an error for the first process."""
    if isinstance(error, UserError):
        launch.leave_word(run, fault="user", error=str(error))
        return 2
    traceback.print_exception(error)
    launch.leave_word(run, fault="bug", error=_sentence(error, run))
    return 1


def _ended(run: Run, **changes: Any) -> Run:
    return runs.update(run.run_id, only_if="running", finished_at=runs.now(), **changes)


def _sentence(error: BaseException, run: Run) -> str:
    said = str(error).strip().split("\n")[0]
    where = (runs.folder(run.parent or run.run_id) / "log.txt").relative_to(paths.home())
    return f"{type(error).__name__}{': ' if said else ''}{said}. This is a bug, not your mistake; the traceback is in {where}."


def _interrupt(signum: int, frame: object) -> NoReturn:
    signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


def heed_cpu_quota() -> None:
    """In a container with a CPU quota, torch would start a thread for every core of the host: give it as many as it may use."""
    quota = Path("/sys/fs/cgroup/cpu.max")
    if "OMP_NUM_THREADS" in os.environ or not quota.exists():
        return
    limit, period = quota.read_text().split()
    if limit != "max":
        os.environ["OMP_NUM_THREADS"] = str(max(1, min(ceil(int(limit) / int(period)), os.cpu_count() or 1)))


if __name__ == "__main__":
    main(sys.argv[1])
