"""From answers to scores.csv: each metric, for each model, on each category and on all together."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from core import results
from core.evaluate import METRICS, stats
from core.evaluate.batch import Batch, Measure


def score(
    answers: Sequence[results.Answer],
    batch: Batch,
    metrics: Iterable[str],
    empty: Mapping[str, str],
    seed: int,
    say: Callable[[str], None],
) -> list[results.Score]:
    """Rows of scores.csv for each category of `empty`, which says why a category has no questions (nothing where it has some)."""
    measures = [measure for name in metrics for measure in METRICS[name].load()(batch)]
    for note in dict.fromkeys(measure.note for measure in measures if measure.note):
        say(note)
    models = np.array([answer.model for answer in answers])
    kinds = np.array([answer.category for answer in answers])
    scores = []
    for category in [*empty, results.ALL]:
        for model in dict.fromkeys(models.tolist()):
            rows = np.flatnonzero((models == model) & ((kinds == category) | ((category == results.ALL) & (kinds != results.GENERAL))))
            scores += [_row(answers[0].run, model, category, measure, rows, empty.get(category, ""), seed) for measure in measures]
    return scores


def _row(run: str, model: str, category: str, measure: Measure, rows: np.ndarray, empty: str, seed: int) -> results.Score:
    n = len(rows)
    if n == 0:
        return results.Score(run, model, category, measure.metric, None, 0, None, None, measure.signature, empty)
    with np.errstate(all="ignore"):
        value = float(measure.value(measure.statistics[rows].sum(axis=0, keepdims=True))[0])
    if not np.isfinite(value):
        reason = f"it came out as {value}"
        return results.Score(run, model, category, measure.metric, None, n, None, None, measure.signature, reason)
    low, high = stats.interval(measure, rows, seed) or (None, None)
    reason = "" if low is not None else "no interval: one question" if n == 1 else "no interval: not finite in some resamples"
    signature = f"{measure.signature}|bootstrap:{stats.RESAMPLES},seed:{seed},percentile"
    return results.Score(run, model, category, measure.metric, value, n, low, high, signature, reason)
