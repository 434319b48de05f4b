"""How far a run is, and how long it still takes: read from its events."""

from dataclasses import dataclass

from core import runs
from core.wording import duration, seconds_between


@dataclass(frozen=True)
class Progress:
    """The newest progress event of a run, with the time left at the pace so far."""

    done: float
    total: float
    unit: str
    message: str
    seconds_left: float | None

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total else 0.0

    @property
    def text(self) -> str:
        """'120 of 400 steps, 3 min 5 s left'; '44 %, 3 min 5 s left'."""
        left = f", {duration(self.seconds_left)} left" if self.seconds_left is not None else ""
        message = f" · {self.message}" if self.message else ""
        done = f"{self.done:.0f} %" if self.unit == "percent" else f"{self.done:,.0f} of {self.total:,.0f} {self.unit}"
        return f"{done}{left}{message}"


def latest(run_id: str) -> Progress | None:
    """The run's newest progress, or None when it has not said any. Pace: since the first event of the same stage (unit and total)."""
    events = runs.read_events(run_id, "progress")
    if not events:
        return None
    last = events[-1]
    stage = [event for event in events if (event["unit"], event["total"]) == (last["unit"], last["total"])]
    gained, seconds = last["done"] - stage[0]["done"], seconds_between(stage[0]["time"], last["time"]) or 0.0
    left = (last["total"] - last["done"]) * seconds / gained if gained > 0 and seconds > 0 else None
    return Progress(last["done"], last["total"], last["unit"], last.get("message", ""), left)
