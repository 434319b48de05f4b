"""How often something may be done: a token bucket for each caller. Light."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

KNOWN_CALLERS = 10_000
"""Callers whose rate is remembered, those who asked last."""


@dataclass
class Rates:
    """How many requests each caller may make (token bucket): a minute's worth at once, and then as many as the minute gives back."""

    per_minute: int
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    """By caller: requests left, and when that was."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, caller: str, now: float) -> float:
        """Seconds until the caller may ask; 0: now, and it is counted. `now`: seconds of a clock that never goes back."""
        with self._lock:
            left, since = self._left.pop(caller, (float(self.per_minute), now))
            left = min(self.per_minute, left + (now - since) * self.per_minute / 60)
            free = left >= 1
            self._left[caller] = (left - free, now)
            if len(self._left) > KNOWN_CALLERS:
                self._left.popitem(last=False)
        return 0.0 if free else (1 - left) * 60 / self.per_minute
