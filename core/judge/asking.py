"""Asks one judge about all pairs, several at a time: what was answered before is taken from memory, everything else is asked once.

A pair's two orders are asked one after another: they begin alike, and servers reuse what they have read. Pairs come in random order,
so that whatever ends the asking early (a budget, a limit, an early stop) leaves a fair sample.
"""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from core.config import JudgeConfig
from core.judge.answers import Pair
from core.judge.backend import NONE, Backend, Comparison
from core.judge.blind import blind, untagged
from core.judge.budget import Budget, prices
from core.judge.early_stop import Looks, interval
from core.judge.replies import Asked, Replies, key
from core.judge.verdicts import Opinion, agreed, opinion
from core.models.chat import CallFailed
from core.results.rag import BETWEEN
from core.wording import percent
from core.workspace import Workspace

DEAD_AFTER = 8
"""Calls that fail in a row, with all their tries, before the judge counts as gone and the rest isn't asked."""
SECONDS_BETWEEN_PROGRESS = 0.5
NO_REFERENCE = "the reference is empty, so there is no meaning to be close to"


@dataclass(frozen=True)
class Task:
    """A pair, to be judged in both orders for the `repeat`-th time."""

    pair: Pair
    repeat: int


def tasks(pairs: Sequence[Pair], config: JudgeConfig) -> list[Task]:
    """All there is to judge, in random order: every pair once, then every pair again, as often as the config repeats."""
    shuffled = random.Random(config.seed).sample(pairs, len(pairs))
    return [Task(pair, repeat) for repeat in range(config.repeats) for pair in shuffled]


def shown(pair: Pair, order: int) -> Comparison:
    """What the judge sees of a pair. `order` 0: the base's answer first; 1: the candidate's."""
    writers = [pair.base, pair.candidate]
    names = [*writers, *(name.partition(BETWEEN)[0] for name in writers if BETWEEN in name)]  # of a cell the generator too
    answers = [blind(text, names) for text in (pair.base_prediction, pair.candidate_prediction)]
    return Comparison(untagged(pair.question), untagged(pair.reference), *answers[:: -1 if order else 1])


class Asking:
    """Asks one judge, and stops when it is gone or when nothing more may be asked."""

    def __init__(self, judge: Backend, replies: Replies, budget: Budget, workspace: Workspace, config: JudgeConfig) -> None:
        self.judge, self._replies, self._budget, self._workspace, self._config = judge, replies, budget, workspace, config
        self._prices = prices(config)
        self._lock = threading.Lock()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._failed_in_a_row = 0
        self.ended = ""
        """Why no more is asked; empty while it goes on."""
        self._gently = False
        """Whether a pair that has begun may be finished."""
        self.unfinished = False
        """Whether what ended it may pass, so that the rest can be asked later."""
        self.requests = 0
        """Replies that were asked for in this run, and came."""

    def all(self, todo: Sequence[Task]) -> list[tuple[Opinion, Opinion]]:
        """The opinions with the base first and with the candidate first, one pair of them a task."""
        workers = min(self._config.concurrency, self.judge.at_once or self._config.concurrency)
        with ThreadPoolExecutor(workers) as pool:
            calls = {pool.submit(self._both, task): place for place, task in enumerate(todo)}
            try:
                self._watch(calls, todo)
            except BaseException:
                self._end("the run broke off")
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [call.result() for call in calls]

    def _watch(self, calls: dict[Future[tuple[Opinion, Opinion]], int], todo: Sequence[Task]) -> None:
        """Say how far it is, and end it when the interval is clear."""
        said, looks = 0.0, Looks()
        for done, call in enumerate(as_completed(calls), 1):
            verdict = agreed(each.verdict for each in call.result())
            if self._config.stop_early and todo[calls[call]].repeat == 0 and looks.add(calls[call], verdict):
                low, high = (percent(edge) for edge in interval(looks.wins, looks.judged))
                clear = (
                    f"after {looks.judged} verdicts the win rate's interval, {low} to {high}, clears 50 %, however often it is looked at"
                )
                self._end(clear, gently=True)
            if done == len(calls) or time.monotonic() - said > SECONDS_BETWEEN_PROGRESS:
                said = time.monotonic()
                self._workspace.progress(done, len(calls), "pairs", self.judge.name)

    def missing(self, todo: Sequence[Task]) -> tuple[list[Comparison], int]:
        """What would have to be asked, each identity once; and how many are known."""
        missing, known = {}, set()
        for comparison, name in (self._named(task, order) for task in todo for order in (0, 1) if not self._unjudgeable(task.pair)):
            if name in known or self._replies.get(name):
                known.add(name)
            else:
                missing[name] = comparison
        return list(missing.values()), len(known)

    def _both(self, task: Task) -> tuple[Opinion, Opinion]:
        begun = not self.ended
        return self._opinion(task, 0, begun), self._opinion(task, 1, begun)

    def _opinion(self, task: Task, order: int, begun: bool) -> Opinion:
        if self._unjudgeable(task.pair):
            return Opinion("failed", reason=NO_REFERENCE)
        comparison, name = self._named(task, order)
        with self._lock:
            one_at_a_time = self._locks[name]
        with one_at_a_time:
            try:
                asked = self._replies.get(name) or (None if self._stopped(begun) else self._ask(name, comparison))
            except CallFailed as error:
                if error.sent:
                    return Opinion("failed", reason=str(error))
                asked = None
        return opinion(self.judge, asked, order, self._prices) if asked else Opinion("not asked", reason=f"not asked: {self.ended}")

    def _ask(self, name: str, comparison: Comparison) -> Asked | None:
        """Ask, within the budget, and keep the reply. None: there is no room for it in the budget."""
        most = self.judge.most(comparison)
        if over := self._budget.begin(most):
            self._end(over)
            return None
        start, spent = time.monotonic(), NONE
        try:
            reply = self.judge.ask(comparison)
            spent = reply.tokens or most
        except CallFailed as error:
            self._count_failure(error)
            raise
        finally:
            self._budget.end(most, spent)
        assumed = most if reply.tokens is None else None
        asked = Asked(reply, round(time.monotonic() - start, 3), self._workspace.run.run_id, assumed)
        self._replies.keep(name, asked)
        with self._lock:
            self._failed_in_a_row = 0
            self.requests += 1
        return asked

    def _count_failure(self, error: CallFailed) -> None:
        with self._lock:
            self._failed_in_a_row += error.again or not error.reached
            dead = self._failed_in_a_row >= DEAD_AFTER
        if error.final:
            self._end(str(error), unfinished=True)
        elif dead:
            self._end(f"{DEAD_AFTER} calls in a row had failed before it, the last one with: {error}", unfinished=True)

    def _end(self, why: str, unfinished: bool = False, gently: bool = False) -> None:
        with self._lock:
            if not self.ended:
                self.ended, self.unfinished, self._gently = why, unfinished, gently

    def _stopped(self, begun: bool) -> bool:
        return bool(self.ended) and not (self._gently and begun)

    def _unjudgeable(self, pair: Pair) -> bool:
        return self.judge.needs_reference and not pair.reference.strip()

    def _named(self, task: Task, order: int) -> tuple[Comparison, str]:
        """What is shown, and what its reply is known by."""
        comparison = shown(task.pair, order)
        return comparison, key(self.judge.identity(comparison), task.repeat)
