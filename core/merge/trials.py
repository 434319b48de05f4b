"""The mixes that a search has tried, each measured once. Their losses are kept as they come, so that a killed run goes on."""

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from core import results
from core.config import SearchConfig
from core.data.prompt import Encoded
from core.data.read import QA
from core.errors import UserError
from core.merge.mixes import Mixes
from core.merge.optimizers import Point
from core.results import ALL, Trial
from core.workspace import Workspace

DRAWS = 2000
WRITE_SECONDS = 2.0
"""How often trials.csv is written anew while a search goes on."""


@dataclass(frozen=True)
class HeldOut:
    """The rows that mixes are measured on."""

    rows: Sequence[QA]
    examples: Sequence[Encoded]

    @cached_property
    def categories(self) -> list[str]:
        """In the order of the rows."""
        return list(dict.fromkeys(row.category for row in self.rows))

    @cached_property
    def members(self) -> np.ndarray:
        """[categories, rows]: 1 where the row is of the category."""
        return np.array([[float(row.category == category) for row in self.rows] for category in self.categories])

    @cached_property
    def tokens(self) -> np.ndarray:
        """[rows] answer tokens, end token included."""
        return np.array([len(example.answer) for example in self.examples], dtype=float)

    @cached_property
    def shares(self) -> np.ndarray:
        """[rows]: what a nat of a row's answer adds to the mean of the categories' losses."""
        found: np.ndarray = (self.members / (self.members @ self.tokens)[:, None]).mean(0)
        return found

    def by_category(self, losses: Sequence[float]) -> np.ndarray:
        """Each category's loss in nats per answer token, [categories], from each row's total."""
        found: np.ndarray = (self.members @ np.array(losses)) / (self.members @ self.tokens)
        return found

    def drawn(self, losses: Sequence[float], seed: int) -> np.ndarray:
        """`by_category` of bootstrap samples, questions drawn with replacement within their category: [DRAWS, categories].

        The same seed draws the same questions, so two mixes are compared pairwise (Efron 1979, Annals of Statistics 7).
        """
        random, found = np.random.default_rng(seed), []
        for members in self.members.astype(bool):
            n = int(members.sum())
            counts = random.multinomial(n, np.full(n, 1 / n), size=DRAWS)
            found.append((counts @ np.array(losses)[members]) / (counts @ self.tokens[members]))
        return np.stack(found, axis=1)


@dataclass(frozen=True)
class Tried:
    """One mix."""

    strategy: str
    weights: Point
    origin: str
    """As in trials.csv."""
    losses: list[float]
    """Total loss of each row's answer, in nats."""
    by_category: np.ndarray
    """[categories] nats per answer token."""

    @property
    def mean(self) -> float:
        """Mean of the categories' losses."""
        return float(self.by_category.mean())

    @property
    def worst(self) -> float:
        """Loss of the worst category."""
        return float(self.by_category.max())


@dataclass
class Trials:
    """Tries mixes, each once."""

    config: SearchConfig
    mixes: Mixes
    held_out: HeldOut
    workspace: Workspace
    total: int
    """Mixes that the whole search may try."""
    tried: dict[tuple[str, Point], Tried] = field(default_factory=dict)
    _kept: dict[tuple[str, Point], list[float]] = field(default_factory=dict)
    _written: float = 0.0

    def __post_init__(self) -> None:
        self._kept = self._read_kept()
        if self._kept:
            self.workspace.say(f"Resumed with {len(self._kept)} mixes that were measured before.")

    def measure(self, strategy: str, points: Sequence[Point], origin: str) -> list[float]:
        """The objective at each point, [K] weights each."""
        keys = [(strategy, point) for point in points]
        new = [key for key in dict.fromkeys(keys) if key not in self._kept]
        done = len(self.tried)
        for start in range(0, len(new), self.mixes.side_by_side):
            part = new[start : start + self.mixes.side_by_side]
            self._keep(part, self._losses(part, done + start))
        return self._tried(keys, origin)

    def slope(self, strategy: str, point: Point, origin: str) -> tuple[float, list[float]]:
        """The mean loss at a point of an exact weighted sum, and its gradient, [K]. A resumed run takes it again: losses are kept alone."""
        key, done = (strategy, point), len(self.tried)
        losses, slope = self.mixes.slope(point, self.held_out.shares.tolist(), lambda part: self._progress(done + part))
        self._keep([key], [losses])
        [loss] = self._tried([key], origin)
        return loss, slope

    def _tried(self, keys: Sequence[tuple[str, Point]], origin: str) -> list[float]:
        for key in dict.fromkeys(keys):
            losses = self._kept[key]
            self.tried.setdefault(key, Tried(*key, origin, losses, self.held_out.by_category(losses)))
        self._progress(len(self.tried))
        if time.monotonic() - self._written > WRITE_SECONDS:
            self.write()
            self._written = time.monotonic()
        return [self.objective(self.tried[key]) for key in keys]

    def objective(self, trial: Tried) -> float:
        """What the search makes small; infinite where a mix is so strong that its loss overflows."""
        loss = trial.mean if self.config.objective == "mean" else trial.worst
        return loss if math.isfinite(loss) else math.inf

    def best(self, *strategies: str) -> Tried:
        """The lowest by the objective, of some strategies or of all; the first of equals."""
        found = [trial for trial in self.tried.values() if not strategies or trial.strategy in strategies]
        return min(found, key=self.objective)

    def gain(self, trial: Tried, over: Tried) -> dict[str, float | None]:
        """How much lower the objective of `trial` is than that of `over`: value and 95 % interval of a bootstrap over questions.

        The interval is empty where every category has a single question: drawing it anew says nothing.
        """
        pick = np.mean if self.config.objective == "mean" else np.max
        ours, theirs = (pick(self.held_out.drawn(each.losses, self.config.seed), axis=1) for each in (trial, over))
        low, high = np.quantile(theirs - ours, [0.025, 0.975])
        value = self.objective(over) - self.objective(trial)
        single = max(Counter(row.category for row in self.held_out.rows).values()) == 1
        interval = {"low": None, "high": None} if single else {"low": float(low), "high": float(high)}
        return {"value": value, **interval, "questions": len(self.held_out.rows)}

    def finish(self) -> Path:
        """The whole of trials.csv."""
        self._progress(self.total)
        return self.write()

    def write(self) -> Path:
        """trials.csv as far as the search is."""
        return results.write(self.workspace.path / "trials.csv", self._rows(), Trial)

    def _rows(self) -> Iterator[Trial]:
        front = _pareto(np.array([[trial.mean, trial.worst] for trial in self.tried.values()]))
        for number, (trial, first) in enumerate(zip(self.tried.values(), front, strict=True)):
            worst = self.held_out.categories[int(trial.by_category.argmax())]
            figures = [("weight", name, weight) for name, weight in zip(self.config.adapters, trial.weights, strict=True)]
            figures += [("loss", name, float(loss)) for name, loss in zip(self.held_out.categories, trial.by_category, strict=True)]
            figures += [("loss", ALL, trial.mean), ("worst", worst, trial.worst), ("pareto", "", float(first))]
            yield from (Trial(number, trial.strategy, trial.origin, *figure) for figure in figures)

    def _losses(self, keys: Sequence[tuple[str, Point]], done: int) -> list[list[float]]:
        merges = [self.config.mix(*key) for key in keys]
        return self.mixes.losses(merges, lambda part: self._progress(done + part))

    def _progress(self, done: float) -> None:
        said = f"lowest {self.config.objective} {self.objective(self.best()):.4f}" if self.tried else ""
        self.workspace.progress(done, self.total, "mixes", said)

    def _keep(self, keys: Sequence[tuple[str, Point]], losses: Sequence[list[float]]) -> None:
        with (self.workspace.scratch / "trials.jsonl").open("a", encoding="utf-8") as file:
            for key, each in zip(keys, losses, strict=True):
                self._kept[key] = each
                file.write(json.dumps([*key, each]) + "\n")

    def _read_kept(self) -> dict[tuple[str, Point], list[float]]:
        """What a killed run of these settings has measured; its first line says on what."""
        file, about = self.workspace.scratch / "trials.jsonl", self._about()
        lines = [json.loads(line) for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if file.exists() else []
        if lines and lines[0] != about:
            raise UserError("The data, the adapters or the base model have changed since this search began. Start a new one.")
        file.write_text("".join(json.dumps(line) + "\n" for line in lines or [about]), encoding="utf-8")
        return {(strategy, tuple(weights)): losses for strategy, weights, losses in lines[1:]}

    def _about(self) -> dict[str, Any]:
        pairs = zip(self.held_out.rows, self.held_out.examples, strict=True)
        tokens = json.dumps([[row.category, example.prompt, example.answer] for row, example in pairs])
        hashes = [parent.content_hash for parent in self.mixes.parents]
        return {"rows": hashlib.sha256(tokens.encode()).hexdigest(), "adapters": hashes, "base": self.mixes.base.content_hash}


def _pareto(figures: np.ndarray) -> list[bool]:
    """Of [n, m] figures: whether no other is at most as high in all and lower in one."""
    return [not bool(((figures <= own).all(1) & (figures < own).any(1)).any()) for own in figures]
