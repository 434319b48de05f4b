"""A judge on a Ray cluster: each worker holds the judge's weights once, and whoever is free is asked next.

Orders, budget and the memory of replies stay with the run's own process, so a reply that has come is never asked for again. A worker that
dies is started anew by Ray, and its question asked again.
"""

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import ray

from core.cluster.connection import connect, slots
from core.cluster.losses import MOST_LOSSES, told
from core.config import JudgeConfig
from core.judge import BACKENDS
from core.judge.backend import Backend, Comparison, Reading, Reply, Tokens
from core.registry import lookup


class Spread(Backend):
    """A judge in as many copies as the cluster has slots."""

    def __init__(self, judge: Backend, backend: str, model: str | None, config: JudgeConfig, say: Callable[[str], Any]) -> None:
        """Nothing is reached yet. `judge`: the one to copy, which says here what it is known by and what replies mean."""
        self._judge, self._wanted, self._say = judge, (backend, model, config), say
        self.name, self.prompt, self.needs_reference, self.provider = judge.name, judge.prompt, judge.needs_reference, judge.provider
        self._copies: list[Any] = []
        self._free: SimpleQueue[Any] = SimpleQueue()

    def identity(self, comparison: Comparison) -> list[Any]:
        """As of the judge itself."""
        return self._judge.identity(comparison)

    def open(self) -> None:
        """Take the workers; each loads the weights when it is first asked."""
        connect(self._say)
        found = slots(self._say)
        options = {"num_cpus": found.cpus, "num_gpus": found.gpus, "max_restarts": MOST_LOSSES, "max_task_retries": MOST_LOSSES}
        copy: Any = _Copy
        self._copies = [copy.options(**options, scheduling_strategy="SPREAD").remote(*self._wanted) for _ in range(found.count)]
        for copy in self._copies:
            self._free.put(copy)
        self.at_once = found.count

    def likely(self, comparison: Comparison) -> Tokens:
        """As of the judge itself."""
        return self._judge.likely(comparison)

    def most(self, comparison: Comparison) -> Tokens:
        """As of the judge itself."""
        return self._judge.most(comparison)

    def ask(self, comparison: Comparison) -> Reply:
        """Ask the next copy that is free. Raises UserError for what a worker refuses, and for one that is lost again and again."""
        copy = self._free.get()
        try:
            with told("the judge"):
                reply: Reply = ray.get(copy.ask.remote(comparison))
                return reply
        finally:
            self._free.put(copy)

    def read(self, reply: Reply) -> Reading:
        """As of the judge itself."""
        return self._judge.read(reply)

    def close(self) -> None:
        """Let go of the workers."""
        for copy in self._copies:
            ray.kill(copy)
        self._copies = []


@ray.remote
class _Copy:
    """The judge on a worker."""

    def __init__(self, backend: str, model: str | None, config: JudgeConfig) -> None:
        self._judge: Backend = lookup(BACKENDS, "judge backend", backend).load()(config, model, lambda *_: None)
        self._opened = False

    def ask(self, comparison: Comparison) -> Reply:
        if not self._opened:  # here and not before: what is wrong with the weights is then said as an answer is
            self._judge.open()
            self._opened = True
        return self._judge.ask(comparison)
