"""comparisons.csv: two models' figures on the same questions, and whether their difference is real.

A paired test by the bootstrap over questions: both models' figures are taken on the same resampled questions, and their difference is
looked at. p-values are held against all cells of a metric at once (Holm 1979), for which more resamples are drawn the more cells there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core import results, stats
from core.metrics.batch import Measure
from core.wording import count

_RESAMPLES = 10_000
"""At least; and 100 for each cell of a metric, so that the least p-value there is stays below 0.05 after Holm."""


@dataclass(frozen=True)
class Cell:
    """Two models on the same questions: their places among the answers, pair by pair."""

    model: str
    baseline: str
    category: str
    ours: np.ndarray
    theirs: np.ndarray


def tested(run: str, found: Sequence[Cell], measures: Sequence[Measure], seed: int) -> list[results.Comparison]:
    """Rows of comparisons.csv, metric by metric, each metric's p-values held against each other."""
    by_cell = _by_cell(run, found, measures, seed)
    return [row for measure in range(len(measures)) for row in _held_together([by_cell[measure, place] for place in range(len(found))])]


def _by_cell(run: str, found: Sequence[Cell], measures: Sequence[Measure], seed: int) -> dict[tuple[int, int], results.Comparison]:
    """By (measure, cell): the difference, its interval and p-value, not yet held against the others'. Cells of equally many questions are
    resampled together, so that they share their draws."""
    by_cell = {}
    for n in {len(cell.ours) for cell in found}:
        together = [place for place, cell in enumerate(found) if len(cell.ours) == n]
        resamples = max(_RESAMPLES, 100 * len(found))
        enough = n >= stats.FEWEST
        differences = _resampled([found[place] for place in together], measures, seed, resamples) if enough else None
        for number, measure in enumerate(measures):
            for row, place in enumerate(together):
                by_cell[number, place] = _row(run, found[place], measure, None if differences is None else differences[number, row])
    return by_cell


def _row(run: str, cell: Cell, measure: Measure, differences: np.ndarray | None) -> results.Comparison:
    with np.errstate(all="ignore"):
        value = float(_figure(measure, cell.ours)[0] - _figure(measure, cell.theirs)[0])
    names = (run, cell.model, cell.baseline, cell.category, measure.metric)
    n = len(cell.ours)
    if not np.isfinite(value):
        return results.Comparison(*names, None, None, None, None, None, n, "one of the two figures is not finite")
    if differences is None or not np.isfinite(differences).all():
        why = f"{count(n, 'question')}, fewer than {stats.FEWEST}" if differences is None else "not finite in some resamples"
        return results.Comparison(*names, value, None, None, None, None, n, f"no interval: {why}")
    low, high = np.quantile(differences, [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2])
    return results.Comparison(*names, value, float(low), float(high), stats.bootstrap_p(differences), None, n)


def _figure(measure: Measure, places: np.ndarray) -> np.ndarray:
    return measure.value(measure.statistics[places].sum(axis=0, keepdims=True))


def _resampled(found: Sequence[Cell], measures: Sequence[Measure], seed: int, resamples: int) -> np.ndarray:
    """[measures, cells, resamples]: each difference on each resample of the questions, all cells having equally many."""
    parts = resamples // stats.RESAMPLES
    differences = np.empty((len(measures), len(found), parts * stats.RESAMPLES))
    for part in range(parts):
        where = slice(part * stats.RESAMPLES, (part + 1) * stats.RESAMPLES)
        for number, measure in enumerate(measures):
            known: dict[bytes, np.ndarray] = {}
            for row, cell in enumerate(found):
                ours, theirs = (_once(known, measure, places, seed + part) for places in (cell.ours, cell.theirs))
                with np.errstate(invalid="ignore"):
                    differences[number, row, where] = ours - theirs
    return differences


def _once(known: dict[bytes, np.ndarray], measure: Measure, places: np.ndarray, seed: int) -> np.ndarray:
    """A model's resampled figures, taken once for all that it is compared with."""
    key = places.tobytes()
    if key not in known:
        figures = stats.resampled(measure.statistics[places], measure.value, seed)
        assert figures is not None, "fewer than two questions"
        known[key] = figures
    return known[key]


def _held_together(rows: Sequence[results.Comparison]) -> list[results.Comparison]:
    """p-values of one metric, adjusted for all of its cells."""
    tested = [row for row in rows if row.p is not None]
    adjusted = dict(zip(map(id, tested), stats.holm([row.p for row in tested if row.p is not None]), strict=True))
    return [results.Comparison(**{**vars(row), "p_holm": adjusted.get(id(row))}) for row in rows]
