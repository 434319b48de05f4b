"""How fast answers are being written."""

import threading
import time
from collections import deque

SECONDS = 10.0
"""Of the past that the pace tells of."""


class Pace:
    """Tokens of all answers, counted by the model's thread and read by any."""

    def __init__(self) -> None:
        self.total = 0
        """Since the start."""
        self._steps: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()

    def add(self, tokens: int) -> None:
        """A step gave this many."""
        with self._lock:
            self.total += tokens
            self._steps.append((time.monotonic(), tokens))
            self._forget()

    @property
    def per_second(self) -> float:
        """Over the last seconds."""
        with self._lock:
            self._forget()
            return sum(tokens for _, tokens in self._steps) / SECONDS

    def _forget(self) -> None:
        while self._steps and self._steps[0][0] < time.monotonic() - SECONDS:
            self._steps.popleft()
