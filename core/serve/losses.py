"""Losses of mixes on validation rows, some rows at a time, told as they get known."""

import hashlib
import math
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from core.data.prompt import Encoded
from core.models.loss import row_losses
from core.serve.loaded import Loaded
from core.serve.making import Making
from core.serve.mixes import NO_NUMBERS, Mix, Plan
from core.serve.stream import Stream

KEPT_LOSSES = 200_000
TURN_SECONDS = 0.3
"""How long a turn should take, so that answers don't wait long for it; one row at least."""
FIRST_TOKENS, MOST_TOKENS = 256, 16384
"""Tokens of the rows of the first turn, while nothing is known of the speed; and of the largest."""


@dataclass(frozen=True)
class Row:
    """One validation row."""

    category: str
    encoded: Encoded
    identity: str
    """The same for the same tokens."""

    @classmethod
    def of(cls, category: str, encoded: Encoded) -> "Row":
        """A row of this category."""
        return cls(category, encoded, hashlib.sha256(repr((encoded.prompt, encoded.answer)).encode()).hexdigest()[:16])


@dataclass
class Tally:
    """The losses of one mix on one category."""

    rows: int = 0
    done_rows: int = 0
    nats: float = 0.0
    tokens: int = 0
    untold: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Nats and answer tokens of the rows, by identity, that no event has told of."""


@dataclass(eq=False)
class Part:
    """The rows of one mix in one request."""

    task: "Task"
    place: int
    """Which of the request's mixes."""
    plan: Plan
    left: deque[Row]
    mix: Mix | None = None
    """None while its temporary adapter is being made."""
    tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether the request still stands."""
        return self.task.open

    def tell(self, **event: Any) -> None:
        """Tell the request."""
        self.task.stream.tell(mix=self.place, **event)

    def use(self, mix: Mix) -> None:
        """The mix; its rows may be computed."""
        self.mix = mix

    def refuse(self, why: str) -> None:
        """This mix has no losses."""
        self.left.clear()
        self.tell(error=why)
        self.task.end_if_done()

    def add(self, row: Row, nats: float) -> None:
        """A row's loss."""
        tally = self.tallies[row.category]
        tally.done_rows += 1
        tally.nats += nats
        tally.tokens += len(row.encoded.answer)
        tally.untold[row.identity] = nats, len(row.encoded.answer)

    def tell_tally(self, category: str) -> None:
        """How this category stands."""
        tally = self.tallies[category]
        loss = tally.nats / tally.tokens if tally.tokens else None
        self.tell(category=category, loss=loss, rows=tally.rows, done_rows=tally.done_rows, each=tally.untold)
        tally.untold = {}


@dataclass(eq=False)
class Task:
    """One request."""

    stream: Stream
    parts: list[Part] = field(default_factory=list)
    open: bool = True

    def end_if_done(self) -> None:
        """End the stream when nothing is left."""
        if self.open and not any(part.left for part in self.parts):
            self.end(done="all")

    def end(self, **event: Any) -> None:
        """The last event."""
        self.open = False
        self.stream.tell(**event)
        self.stream.end()


class Losses:
    """All requests for losses, and the losses that are known. Lives in the model's thread."""

    def __init__(self, making: Making) -> None:
        self._making = making
        self._tasks: dict[str, Task] = {}
        """By session; whose turn is next stands first."""
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()
        """By the identities of mix and row."""
        self._tokens = FIRST_TOKENS
        """Of the rows of the next turn."""

    @property
    def waiting(self) -> bool:
        """Whether a turn would do anything."""
        return any(_next(task) for task in self._tasks.values())

    def open(self, stream: Stream, asks: Sequence[tuple[Plan, Sequence[Row]]]) -> None:
        """Losses of each plan on its rows; what the session asked before is superseded."""
        if older := self._tasks.pop(stream.session, None):
            older.end(done="superseded")
        task = self._tasks[stream.session] = Task(stream)
        for place, (plan, rows) in enumerate(asks):
            part = Part(task, place, plan, in_turn(rows))
            task.parts.append(part)
            for row in rows:
                part.tallies.setdefault(row.category, Tally()).rows += 1
        for part in task.parts:
            self._recall(part)
            if part.left:
                self._making.make(part.plan, part)
        task.end_if_done()

    def drop(self, stream: Stream) -> None:
        """Nobody reads this stream any more."""
        task = self._tasks.get(stream.session)
        if task and task.stream is stream:
            task.open = False
            del self._tasks[stream.session]

    def fail(self, why: str) -> None:
        """Tell everybody, and forget what was asked."""
        for task in self._tasks.values():
            task.end(error=why)
        self._tasks.clear()

    def turn(self, loaded: Loaded) -> None:
        """Some rows of one mix, for the session whose turn it is."""
        session, part = next((session, part) for session, task in self._tasks.items() if (part := _next(task)))
        task, mix = self._tasks[session], part.mix
        assert mix is not None
        if why := loaded.misfit(mix):
            part.refuse(why)
        else:
            self._compute(loaded, part, mix)
        del self._tasks[session]
        if task.open:
            self._tasks[session] = task

    def _compute(self, loaded: Loaded, part: Part, mix: Mix) -> None:
        rows = _some(part.left, self._tokens)
        encoded = [row.encoded for row in rows]
        began = time.monotonic()
        losses = row_losses(loaded.base, encoded, lambda places: loaded.mixing([mix] * len(places)), MOST_TOKENS)
        self._tokens = min(MOST_TOKENS, int(sum(map(len, encoded)) * TURN_SECONDS / (time.monotonic() - began)))
        if not all(map(math.isfinite, losses)):
            part.refuse(NO_NUMBERS)
            return
        for row, nats in zip(rows, losses, strict=True):
            self._known[part.plan.identity, row.identity] = nats
            part.add(row, nats)
        while len(self._known) > KEPT_LOSSES:
            self._known.popitem(last=False)
        for category in dict.fromkeys(row.category for row in rows):
            part.tell_tally(category)
        part.task.end_if_done()

    def _recall(self, part: Part) -> None:
        """Tell at once what is known."""
        known = [row for row in part.left if (part.plan.identity, row.identity) in self._known]
        for row in known:
            part.left.remove(row)
            part.add(row, self._known[part.plan.identity, row.identity])
        for category in dict.fromkeys(row.category for row in known):
            part.tell_tally(category)


def in_turn(rows: Sequence[Row]) -> deque[Row]:
    """The first row of each category, then the second of each, and so on."""
    by_category: dict[str, list[Row]] = {}
    for row in rows:
        by_category.setdefault(row.category, []).append(row)
    return deque(row for round_ in zip_longest(*by_category.values()) for row in round_ if row)


def _next(task: Task) -> Part | None:
    """The mix of a request that is furthest behind and can be computed."""
    ready = [part for part in task.parts if part.left and part.mix is not None]
    return max(ready, key=lambda part: len(part.left), default=None)


def _some(left: deque[Row], tokens: int) -> list[Row]:
    """Take rows of about this many tokens together, at least one."""
    rows = [left.popleft()]
    while left and sum(len(row.encoded) for row in rows) + len(left[0].encoded) <= tokens:
        rows.append(left.popleft())
    return rows
