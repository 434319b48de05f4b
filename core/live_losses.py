"""The losses that an engine streams, as a table: each model's loss per category, and its drop from base with a paired 95 % interval."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from core.results import ALL
from core.wording import count, signed, three

COLUMNS = ["category", "model", "role", "value", "n", "of", "drop", "low", "high"]
BASE = "base"
DRAWS = 1000

Rows = dict[str, tuple[float, int]]
"""Nats and answer tokens by row."""


class Tally:
    """Rows of every model and category, as events tell of them."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], Rows] = {}
        """By model, role and category."""
        self.expected: dict[tuple[str, str, str], int] = {}

    def add(self, events: Iterable[Mapping[str, Any]], models: Sequence[tuple[str, str]]) -> None:
        """Events of one request; `models`: name and role of each of its mixes."""
        for event in events:
            if "each" in event:
                key = (*models[event["mix"]], event["category"])
                self.rows.setdefault(key, {}).update({row: (nats, tokens) for row, (nats, tokens) in event["each"].items()})
                self.expected[key] = event["rows"]

    def table(self, categories: Sequence[str]) -> pd.DataFrame:
        """category, model, role, value (nats per answer token), n (rows so far), of (rows in all), drop from base, low, high.

        The mean over the categories, '(all)', stands where every category is whole. drop, low and high are empty for the base, and
        where fewer than two rows are known of both.
        """
        found = []
        for model, role in dict.fromkeys(key[:2] for key in self.rows):
            parts = {each: self.rows[model, role, each] for each in categories if self.rows.get((model, role, each))}
            drops = {} if role == BASE else {category: self._drops(category, rows) for category, rows in parts.items()}
            for category, rows in parts.items():
                of = self.expected[model, role, category]
                found.append((category, model, role, _loss(rows), len(rows), of, *_interval(drops.get(category))))
            if len(parts) == len(categories) and all(len(rows) == self.expected[model, role, each] for each, rows in parts.items()):
                n = sum(map(len, parts.values()))
                known = [drop for drop in drops.values() if drop is not None]
                whole = np.mean(known, axis=0) if len(known) == len(parts) else None
                found.append((ALL, model, role, float(np.mean([_loss(rows) for rows in parts.values()])), n, n, *_interval(whole)))
        return pd.DataFrame(found, columns=COLUMNS)

    def _drops(self, category: str, rows: Rows) -> np.ndarray | None:
        """How far the loss lies below base's on the rows that both have: first as it is, then in each draw of a bootstrap over rows."""
        base = self.rows.get((BASE, BASE, category), {})
        both = np.array([(*base[row], *rows[row]) for row in sorted(base.keys() & rows.keys())])
        if len(both) < 2:
            return None
        chosen = np.random.default_rng(0).integers(len(both), size=(DRAWS, len(both)))
        sums = np.concatenate([both.sum(0)[None], both[chosen].sum(1)])
        return np.asarray((sums[:, 0] - sums[:, 2]) / sums[:, 1])


def _loss(rows: Rows) -> float:
    return sum(nats for nats, _ in rows.values()) / max(1, sum(tokens for _, tokens in rows.values()))


def _interval(drops: np.ndarray | None) -> tuple[float | None, float | None, float | None]:
    """The drop, and its percentile interval."""
    if drops is None:
        return None, None, None
    low, high = np.percentile(drops[1:], [2.5, 97.5])
    return float(drops[0]), float(low), float(high)


def sentence(table: pd.DataFrame) -> str:
    """The mean losses in words."""
    means = table[table["category"] == ALL]
    if means.empty:
        return "Losses on validation rows, category by category."
    return f"Mean validation loss, nats per answer token: {'; '.join(_words(row) for row in means.itertuples())}."


def _words(row: Any) -> str:
    said = f"{row.model} {three(row.value)}"
    if pd.isna(row.drop):
        return f"{said} ({count(row.n, 'row')})"
    if row.low <= 0 <= row.high:
        return f"{said} (no difference from base seen: {signed(-row.high)} to {signed(-row.low)})"
    return f"{said} ({signed(-row.drop)} against base, 95 % interval {signed(-row.high)} to {signed(-row.low)})"
