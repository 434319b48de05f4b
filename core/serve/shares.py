"""Why this word: how much each adapter of a mix adds to the log-probability of one token of an answer.

Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) along the mix's own strength: with a gate g_k on each adapter,

    share_k = integral over a from 0 to 1 of  d log p(token) / d g_k  at g = (a, ..., a)

so the shares add up to log p under the mix less log p under the base model. The integral is taken by Gauss-Legendre's rule, with twice
the points until what is missing is small. One point is computed between two tokens of the answers under way.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.serve.loaded import Loaded
from core.serve.making import Making
from core.serve.mixes import NO_NUMBERS, Mix, Plan
from core.serve.stream import Event, Stream

POINTS = (4, 8, 16)
"""Points of the integral, until it is good enough."""
SMALL = 0.03
"""Nats, and the share of the whole difference, that may be missing."""


@dataclass(frozen=True)
class Spoken:
    """A token of an answer."""

    before: tuple[int, ...]
    """The prompt, and the answer up to it."""
    token: int


@dataclass(eq=False)
class Task:
    """One request. Its stream hears one event: base, mix, shares by adapter and rest (nats), points; or an error."""

    stream: Stream
    plan: Plan
    spoken: Spoken
    mix: Mix | None = None
    steps: Iterator[Event | None] | None = None
    wanted: bool = True

    def tell(self, **event: object) -> None:
        """How far a temporary adapter is: nobody waits for that here."""

    def use(self, mix: Mix) -> None:
        """The mix; its shares may be computed."""
        self.mix = mix

    def refuse(self, why: str) -> None:
        """There are no shares."""
        self.end(error=why)

    def end(self, **event: object) -> None:
        """The one event."""
        self.wanted = False
        self.stream.tell(**event)
        self.stream.end()


class Shares:
    """All requests for shares, first come, first served. Lives in the model's thread."""

    def __init__(self, making: Making) -> None:
        self._making = making
        self._tasks: deque[Task] = deque()

    @property
    def waiting(self) -> bool:
        """Whether a turn would do anything."""
        return any(task.mix for task in self._tasks)

    @property
    def under_way(self) -> int:
        """Requests that wait."""
        return len(self._tasks)

    def open(self, stream: Stream, plan: Plan, spoken: Spoken) -> None:
        """Shares of one token."""
        task = Task(stream, plan, spoken)
        self._tasks.append(task)
        self._making.make(plan, task)

    def drop(self, stream: Stream) -> None:
        """Nobody reads this stream any more."""
        for task in [task for task in self._tasks if task.stream is stream]:
            task.wanted = False
            self._tasks.remove(task)

    def fail(self, why: str) -> None:
        """Tell everybody, and forget what was asked."""
        for task in self._tasks:
            task.end(error=why)
        self._tasks.clear()

    def turn(self, loaded: Loaded) -> None:
        """One point of the first request that can be computed."""
        task = next(task for task in self._tasks if task.mix)
        assert task.mix
        if why := loaded.misfit(task.mix):
            task.refuse(why)
        else:
            task.steps = task.steps or steps(loaded, task.mix, task.spoken)
            if event := next(task.steps):
                task.end(**event)
        self._tasks = deque(each for each in self._tasks if each.wanted)


def steps(loaded: Loaded, mix: Mix, spoken: Spoken) -> Iterator[Event | None]:
    """None after each point; last, the event."""
    base, whole = (float(_logprob(loaded, mix, spoken, torch.full((len(mix.parts),), gate))) for gate in (0.0, 1.0))
    if not np.isfinite([base, whole]).all():
        yield {"error": NO_NUMBERS}
        return
    for points in POINTS:
        shares = torch.zeros(len(mix.parts))
        for place, weight in zip(*np.polynomial.legendre.leggauss(points), strict=True):
            yield None
            gates = torch.full((len(mix.parts),), (place + 1) / 2, requires_grad=True)
            (gradient,) = torch.autograd.grad(_logprob(loaded, mix, spoken, gates), gates)
            shares += gradient * weight / 2
        rest = whole - base - float(shares.sum())
        if abs(rest) <= SMALL * (1 + abs(whole - base)):
            break
    named = {part.adapter.name: share for part, share in zip(mix.parts, shares.tolist(), strict=True)}
    yield {"base": base, "mix": whole, "shares": named, "rest": rest, "points": points}


def _logprob(loaded: Loaded, mix: Mix, spoken: Spoken, gates: Tensor) -> Tensor:
    """Log-probability of the token in nats, where adapter k has gates[k] times its weight."""
    ids = torch.tensor([spoken.before], device=loaded.base.device)
    with torch.set_grad_enabled(gates.requires_grad), loaded.gated(mix, gates.to(loaded.base.device)):
        logits: Tensor = loaded.base.model(ids, logits_to_keep=1).logits[0, -1]
    return logits.float().log_softmax(-1)[spoken.token].cpu()
