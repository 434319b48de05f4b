"""Following a run on a terminal: a progress bar with the time left, and what the run says. All on standard error."""

import sys
from datetime import datetime
from typing import Any, TextIO

from core import runs
from core.jobs import local, worker
from core.runs import Run
from core.wording import count, duration

WIDTH = 24
PLAIN_SECONDS = 5.0
"""Where standard error is no terminal, a line of progress stands for at least this long."""


def watch(run: Run, since: int = 0) -> Run:
    """Show the run's events, from this byte of events.jsonl on, until it has ended. Returns the run as it ended."""
    bar = Bar(sys.stderr)
    waiting = worker.ahead(run) if run.status == "queued" else []
    if waiting:
        bar.say(f"{run.run_id} waits for {count(len(waiting), 'older job')}.")
    for event in local.follow(run.run_id, since):
        bar.show(event)
    bar.close()
    return runs.read(run.run_id)


class Bar:
    """One line that is drawn again and again on a terminal; elsewhere a plain line now and then."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.drawn = False
        self.first: dict[str, Any] = {}
        """The first event with the same unit and total: the pace is measured from it."""
        self.printed: datetime | None = None

    def show(self, event: dict[str, Any]) -> None:
        """Show one event of a run: progress or say. Other kinds are for machines."""
        if event["kind"] == "say":
            self.say(event["message"])
        elif event["kind"] == "progress":
            self._progress(event)

    def say(self, message: str) -> None:
        """One line of text, above the bar."""
        self.close()
        print(message, file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the terminal's line as it stands."""
        if self.drawn:
            print(file=self.stream, flush=True)
        self.drawn = False

    def _progress(self, event: dict[str, Any]) -> None:
        if (event["unit"], event["total"]) != (self.first.get("unit"), self.first.get("total")):
            self.first = event
            self.printed = None
        text = line(event, self.first)
        time = datetime.fromisoformat(event["time"])
        if self.stream.isatty():
            print(f"\r\x1b[K{text}", end="", file=self.stream, flush=True)
            self.drawn = True
        elif not self.printed or event["done"] >= event["total"] or (time - self.printed).total_seconds() >= PLAIN_SECONDS:
            print(text, file=self.stream, flush=True)
            self.printed = time


def line(event: dict[str, Any], first: dict[str, Any]) -> str:
    """'[######------------------] 25 % 30/120 steps, 1 min 3 s left · message', at the pace since the event `first`."""
    done, total = event["done"], event["total"]
    share = min(1.0, done / total) if total else 0.0
    filled = round(share * WIDTH)
    seconds = (datetime.fromisoformat(event["time"]) - datetime.fromisoformat(first["time"])).total_seconds()
    gained = done - first["done"]
    left = f", {duration((total - done) * seconds / gained)} left" if gained > 0 and seconds > 0 else ""
    message = f" · {event['message']}" if event.get("message") else ""
    amount = "" if event["unit"] == "percent" else f" {done:,.0f}/{total:,.0f} {event['unit']}"
    return f"[{'#' * filled}{'-' * (WIDTH - filled)}] {share:.0%}{amount}{left}{message}"
