"""A folder in the cache that goes with the process. What a process left that was killed goes when another one makes its own.

A process holds the lock of its folder as long as it lives, and the system lets go of it however it ends.
"""

import atexit
import fcntl
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from core import paths

LOCK = "lock"


def folder() -> Path:
    """This process's own."""
    return _made(paths.cache() / "scratch")


@lru_cache(maxsize=8)
def _made(every: Path) -> Path:
    every.mkdir(parents=True, exist_ok=True)
    with (every / ".making").open("w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)  # nobody sweeps a folder whose lock isn't taken yet
        for left in every.iterdir():
            if left.is_dir() and _is_dead(left):
                shutil.rmtree(left)
        new = Path(tempfile.mkdtemp(dir=every))
        held = (new / LOCK).open("w")
        fcntl.flock(held, fcntl.LOCK_EX)
    atexit.register(shutil.rmtree, new, ignore_errors=True)
    atexit.register(held.close)
    return new


def _is_dead(left: Path) -> bool:
    if not (left / LOCK).exists():
        return True
    with (left / LOCK).open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
