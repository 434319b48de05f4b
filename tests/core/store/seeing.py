"""Waiting for what other machines and processes do."""

import time

from core import runs
from core.store import incoming


def seen(run, *status, seconds=30.0):
    """Fetch until the run has this status on this machine."""
    until = time.monotonic() + seconds
    while True:
        incoming.fetch(20.0)
        found = [each for each in runs.listing() if each.run_id == run.run_id and each.status in status]
        if found:
            return found[0]
        assert time.monotonic() < until, [each.status for each in runs.listing()]
        time.sleep(0.2)


def said(run):
    return " ".join(event["message"] for event in runs.read_events(run.run_id, "say"))


def wait_for(what, seconds=40.0):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)
