"""A process's own folder goes with it, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core import paths
from core.results import scratch

MAKE = "from core.results import scratch; import sys; print(scratch.folder(), flush=True); sys.stdin.read()"


def started() -> tuple[subprocess.Popen[str], Path]:
    """A process that has its folder, until its standard input ends."""
    process = subprocess.Popen([sys.executable, "-c", MAKE], cwd=paths.PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_killed_processs_folder_goes_at_the_next_start_and_a_living_ones_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path))
    (killed, first), (living, second) = started(), started()
    assert first != second and first.parent == second.parent == tmp_path / "scratch"
    (first / "table").mkdir()
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait(20)
    assert first.is_dir(), "nobody could remove it"
    ours = scratch.folder()
    assert ours == scratch.folder() and ours.is_dir() and second.is_dir() and not first.exists()
    living.communicate(timeout=20)
    assert not second.exists(), "who ends well leaves nothing"
