"""Real jobs in real processes, with a verb that sleeps."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core import paths, runs
from core.jobs import local
from core.runs import Run
from core.verbs import VERBS

STARTUP = Path(__file__).resolve().parent / "jobs" / "startup"


@pytest.fixture
def naps(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The verbs 'nap' and 'desk-nap' here and in every process that is started; nothing of them outlives the test."""
    monkeypatch.setenv("PYTHONPATH", f"{STARTUP}{os.pathsep}{paths.PROJECT}")
    monkeypatch.syspath_prepend(str(STARTUP))
    from naps import NAPS

    for name, verb in NAPS.items():
        monkeypatch.setitem(VERBS, name, verb)
    yield home / "trace.txt"
    for run in runs.listing():
        if run.status in ("queued", "running") and run.parent is None:
            local.cancel(run.run_id)


@pytest.fixture
def nap(naps: Path) -> Callable[..., Run]:
    """Submit a nap: nap(seconds=1, end='bug', verb='desk-nap')."""
    from naps import NapConfig

    def submit(verb: str = "nap", **fields: object) -> Run:
        return local.submit(verb, NapConfig(**fields))

    return submit


@pytest.fixture
def tiny_study(tiny_base: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the verb 'tiny-demo' does: a study of a random base model, of 2 steps and one question a category."""
    where = {"data": str(tiny_data), "base_model": str(tiny_base)}
    evaluate = {"limit": 1, "max_new_tokens": 4, "metrics": ["perplexity", "bleu"], "device": "cpu"}
    tiny = {"where": where, "train": {"max_steps": 2, "device": "cpu"}, "evaluate": evaluate}
    monkeypatch.setenv("TINY_STUDY", json.dumps(tiny))


@pytest.fixture
def until() -> Callable[..., Run]:
    """Wait until a run has a status, without looking after it (no reconcile)."""

    def wait(run: Run, *status: str, seconds: float = 15.0) -> Run:
        end = time.monotonic() + seconds
        while (now := runs.read(run.run_id)).status not in status:
            assert time.monotonic() < end, f"{run.run_id} is {now.status} after {seconds} s, not {status}: {now.error}"
            time.sleep(0.02)
        return now

    return wait


@pytest.fixture
def asleep() -> Callable[[Run], Run]:
    """Wait until a nap has noted its start and left its half-made things."""

    def wait(run: Run) -> Run:
        end = time.monotonic() + 15
        while not runs.read_events(run.run_id, "progress"):
            assert time.monotonic() < end, f"{run.run_id} does not sleep: {runs.read(run.run_id)}"
            time.sleep(0.02)
        return runs.read(run.run_id)

    return wait


@pytest.fixture
def process() -> Callable[[str, Run], psutil.Process]:
    """The process of a run: process('worker', run) or process('execute', run)."""

    def find(module: str, run: Run) -> psutil.Process:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for each in psutil.process_iter(["cmdline"]):
                words = each.info["cmdline"] or []
                if f"core.jobs.{module}" in words and run.run_id in words:
                    return each
            time.sleep(0.02)
        raise AssertionError(f"no {module} of {run.run_id}")

    return find


@pytest.fixture
def trace(naps: Path) -> Callable[[], list[tuple[str, str, float]]]:
    """What the naps noted: ('start' or 'end', run id, time), in the order it happened."""

    def read() -> list[tuple[str, str, float]]:
        lines = naps.read_text().splitlines() if naps.exists() else []
        return [(what, run_id, float(when)) for what, run_id, when in (line.split() for line in lines)]

    return read
