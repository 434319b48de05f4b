"""Locks between processes: flock on files in results/.locks/, which the kernel drops when the last holder is gone, however it ended.

A lock belongs to the open file, so a child that inherits the descriptor holds it too: it stays taken while either lives.
"""

import fcntl
import os
import time

from core import paths


def take(name: str) -> int:
    """Wait for the lock and take it. Returns the descriptor; closing it gives the lock back."""
    descriptor = _open(name)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def try_to_take(name: str, seconds: float = 0.0) -> int | None:
    """Take the lock if it gets free within `seconds`; None if it doesn't."""
    descriptor, until = _open(name), time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(descriptor)
                return None
            time.sleep(0.02)


def held(name: str) -> bool:
    """Whether somebody holds the lock. Looks through a shared lock, so that two who look don't see each other."""
    descriptor = _open(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def forget(name: str) -> None:
    """Remove the lock's file, when what it guarded is gone."""
    (paths.results() / ".locks" / f"{name}.lock").unlink(missing_ok=True)


def _open(name: str) -> int:
    folder = paths.results() / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
