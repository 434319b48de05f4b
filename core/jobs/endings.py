"""How a run ends when it doesn't end by itself: its process died, or somebody cancelled it.

A run's process holds the lock named by the run's id, from before the run is queued until after its last word in run.json.
So a run that says 'running' while nobody holds its lock is dead: no guessing by process numbers.
A stage runs in its parent's process and lives as long as the parent runs.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from core import paths, runs, store
from core.errors import UserError
from core.jobs import locks
from core.runs import ENDED, KEPT, Run
from core.workspace import Workspace

LOG_LINES = 8


def alive(run: Run) -> bool:
    """Whether a process is in charge of the run: waiting for its turn, running it, or about to end."""
    if run.parent is None:
        return locks.held(run.run_id)
    try:
        parent = runs.read(run.parent)
    except UserError:  # the parent was removed
        return False
    return parent.status == "running" and alive(parent)


def fail_if_dead(run_id: str) -> None:
    """Mark a run as failed when it says that it runs and nobody runs it, or when its machine is lost."""
    with runs.locked(run_id):
        run = runs.read(run_id)
        if store.elsewhere(run_id):
            if run.status not in ENDED and (lost := store.is_lost(run_id)):
                _fail(run, lost)
        elif run.status == "running" and not alive(run):
            _fail(run, "The run's process is gone: it was killed, or the machine was restarted.")


def fail(run_id: str, exit_status: int) -> None:
    """Mark a run as failed whose process has just ended without saying how the run ended. Known to its worker alone."""
    what = f"was killed (signal {-exit_status})" if exit_status < 0 else f"ended (exit status {exit_status})"
    hint = " Often the memory was too small: try a smaller batch_size or max_seq_length." if exit_status == -9 else ""
    with runs.locked(run_id):
        run = runs.read(run_id)
        if run.status in ("queued", "running"):
            _fail(run, f"The run's process {what} before the run was complete.{hint}")
    for stage in runs.listing(status="running", parent=run_id):
        fail_if_dead(stage.run_id)


def clear(run_id: str) -> None:
    """Remove what a cancelled run and its unfinished stages leave: scratch, half-made tables, and what they published already."""
    with runs.locked(run_id):
        run = runs.read(run_id)
        if run.status != "cancelled":
            return
        _remove_published(run)
        for path in run.path.iterdir():
            if path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    for stage in runs.listing(parent=run_id):
        if stage.status != "done":
            runs.update(stage.run_id, status="cancelled", finished_at=stage.finished_at or runs.now(), error=None, fault=None)
            clear(stage.run_id)


def _fail(run: Run, what: str) -> None:
    log = runs.log_tail(run.parent or run.run_id, LOG_LINES)
    error = f"{what} Resume it with: python -m core jobs --resume {run.parent or run.run_id}"
    error += f"\nLast lines of its log:\n{log}" if log else ""
    runs.write(replace(run, status="failed", fault="bug", finished_at=runs.now(), error=error))


def _remove_published(run: Run) -> None:
    for event in runs.read_events(run.run_id, "published"):
        path = _inside_home(event["path"])
        if path and Workspace(run).made(path):
            shutil.rmtree(path)


def _inside_home(path: str) -> Path | None:
    full = (paths.home() / path).resolve()
    return full if full.parent in (paths.adapters(), paths.merged_adapters(), paths.models()) else None
