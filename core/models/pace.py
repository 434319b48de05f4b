"""The limits of a provider, kept before it must refuse: requests and tokens a minute and a day, and what its headers say is left.

A minute is the last 60 seconds. A call counts with the most tokens that it may take until its reply says how many it took, and it stays
in the window from its start until a minute after its end: the server counts it somewhere between.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MINUTE = 60.0
LONGEST_PAUSE = 600.0
"""Seconds that a header's word is waited for; beyond it the server may refuse."""
MARGIN = 0.05
"""Seconds beyond a limit's end, for clocks that differ."""
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_LEFT = re.compile(r"[0-9]{1,15}")


class DayIsOver(Exception):
    """A limit of the day is reached; the message says which."""


@dataclass(frozen=True)
class Limits:
    """What a provider grants; None: whatever the server takes."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None


@dataclass
class Call:
    """A call under way or just over."""

    tokens: int
    ended: float | None = None


class Pace:
    """When a call may start. One for all calls to a provider."""

    def __init__(self, limits: Limits, last_day: Callable[[], tuple[int, int]], note: Callable[[int], None]) -> None:
        """`last_day()`: requests and tokens of the last 24 hours; `note(tokens)` adds one request to them."""
        self._limits, self._last_day, self._note = limits, last_day, note
        self._calls: list[Call] = []
        self._changed = threading.Condition()
        self._left: dict[str, tuple[int, float]] = {}
        """What the headers say: requests or tokens -> how many are left until when (monotonic seconds)."""

    def start(self, tokens: int) -> Call:
        """Wait until a call of at most so many tokens may start. Raises DayIsOver."""
        with self._changed:
            while (wait := self._wait(tokens)) > 0:
                self._changed.wait(wait)
            self._check_day(tokens)
            call = Call(tokens)
            self._calls.append(call)
            return call

    def end(self, call: Call, tokens: int, headers: Mapping[str, str]) -> None:
        """The call is over and took so many tokens; the server's rate-limit headers are believed."""
        self._note(tokens)
        with self._changed:
            call.tokens, call.ended = tokens, time.monotonic()
            for what in ("requests", "tokens"):
                left, reset = headers.get(f"x-ratelimit-remaining-{what}", ""), seconds(headers.get(f"x-ratelimit-reset-{what}", ""))
                if _LEFT.fullmatch(left) and reset is not None and reset <= LONGEST_PAUSE:
                    self._left[what] = (int(left), time.monotonic() + reset + MARGIN)
            self._changed.notify_all()

    def _wait(self, tokens: int) -> float:
        """Seconds until it is worth looking again; 0: the call may start."""
        now = time.monotonic()
        self._calls = [call for call in self._calls if call.ended is None or now - call.ended < MINUTE + MARGIN]
        under_way = [call.tokens for call in self._calls if call.ended is None]
        need = {"requests": len(under_way) + 1, "tokens": sum(under_way) + tokens}
        taken, limits = sum(call.tokens for call in self._calls), self._limits
        many = limits.requests_per_minute is not None and len(self._calls) >= limits.requests_per_minute
        much = limits.tokens_per_minute is not None and bool(self._calls) and taken + tokens > limits.tokens_per_minute
        if many or much:
            first = min((call.ended for call in self._calls if call.ended is not None), default=now)
            return max(MARGIN, first + MINUTE + MARGIN - now)
        return max((until - now for what, (left, until) in self._left.items() if left < need[what]), default=0.0)

    def _check_day(self, tokens: int) -> None:
        limits = self._limits
        if limits.requests_per_day is None and limits.tokens_per_day is None:
            return
        requests, spent = self._last_day()
        pending = [call.tokens for call in self._calls if call.ended is None]
        if limits.requests_per_day is not None and requests + len(pending) >= limits.requests_per_day:
            raise DayIsOver(f"requests_per_day={limits.requests_per_day} is reached: {requests} requests in the last 24 hours")
        if limits.tokens_per_day is not None and spent + sum(pending) + tokens > limits.tokens_per_day:
            raise DayIsOver(f"tokens_per_day={limits.tokens_per_day} is reached: {spent} tokens in the last 24 hours")


class Meter:
    """Tokens of a text before anybody counted them: learned from what the server says of earlier ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = self._prompt_tokens = self._replies = self._reply_tokens = 0
        self._most = 0.0

    def learn(self, size: int, prompt_tokens: int | None, reply_tokens: int | None) -> None:
        """A prompt of `size` bytes took so many tokens."""
        if prompt_tokens is None or reply_tokens is None:
            return
        with self._lock:
            self._bytes, self._prompt_tokens = self._bytes + size, self._prompt_tokens + prompt_tokens
            self._replies, self._reply_tokens = self._replies + 1, self._reply_tokens + reply_tokens
            self._most = max(self._most, prompt_tokens / size)

    def most(self, size: int) -> int:
        """A prompt of `size` bytes hardly takes more tokens: half the bytes, or a tenth above the densest prompt so far."""
        return round(size * (self._most * 1.1 if self._replies else 0.5)) + 1

    def likely(self, size: int) -> int:
        """Tokens that it takes on average; 4 bytes a token before anything is known."""
        return round(size * (self._prompt_tokens / self._bytes if self._bytes else 0.25))

    def likely_reply(self, guess: int) -> int:
        """Tokens of a reply on average; `guess` before anything is known."""
        return round(self._reply_tokens / self._replies) if self._replies else guess


def seconds(text: str) -> float | None:
    """Seconds of a rate-limit header: '7.66s', '2m59.56s', '120ms', or a plain number; None for anything else."""
    try:
        return float(text)
    except ValueError:
        pass
    found = _DURATION.fullmatch(text.strip())
    if not found or not any(found.groups()):
        return None
    days, hours, minutes, rest, milli = (float(part or 0) for part in found.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + rest + milli / 1000
