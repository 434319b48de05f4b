"""From answers to scores.csv: each metric, for each model, on each category and on all together."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from core import results, stats
from core.metrics import METRICS
from core.metrics.batch import Batch, Measure
from core.wording import three

PER_ANSWER = ("bertscore_f1", "chrf", "rougeL")
"""Figures that answer_scores.csv has of each answer."""
TABLE = tuple(row.headline for row in METRICS.values() if row.headline)
"""Figures of the table that an evaluation ends with."""


def measure(batch: Batch, metrics: Iterable[str], say: Callable[[str], None]) -> list[Measure]:
    """Every figure of the metrics, as statistics of each answer."""
    measures = [measure for name in metrics for measure in METRICS[name].load()(batch)]
    for note in dict.fromkeys(measure.note for measure in measures if measure.note):
        say(note)
    return measures


def score(answers: Sequence[results.Answer], measures: Sequence[Measure], empty: Mapping[str, str], seed: int) -> list[results.Score]:
    """Rows of scores.csv for each category of `empty`, which says why a category has no questions (nothing where it has some)."""
    models = np.array([answer.model for answer in answers])
    kinds = np.array([answer.category for answer in answers])
    scores = []
    for category in [*empty, results.ALL]:
        for model in dict.fromkeys(models.tolist()):
            rows = np.flatnonzero((models == model) & ((kinds == category) | ((category == results.ALL) & (kinds != results.GENERAL))))
            scores += [_row(answers[0].run, model, category, measure, rows, empty.get(category, ""), seed) for measure in measures]
    return scores


def _row(run: str, model: str, category: str, measure: Measure, rows: np.ndarray, empty: str, seed: int) -> results.Score:
    asked = len(rows)
    if measure.has is not None:
        rows = rows[measure.has[rows]]
    n = len(rows)
    if n == 0:
        reason = measure.missing if asked else empty
        return results.Score(run, model, category, measure.metric, None, 0, None, None, measure.signature, reason)
    with np.errstate(all="ignore"):
        value = float(measure.value(measure.statistics[rows].sum(axis=0, keepdims=True))[0])
    if not np.isfinite(value):
        reason = f"it came out as {value}"
        return results.Score(run, model, category, measure.metric, None, n, None, None, measure.signature, reason)
    low, high = stats.bootstrap(measure.statistics[rows], measure.value, seed) or (None, None)
    reason = "" if low is not None else "no interval: one question" if n == 1 else "no interval: not finite in some resamples"
    signature = f"{measure.signature}|bootstrap:{stats.RESAMPLES},seed:{seed},percentile"
    return results.Score(run, model, category, measure.metric, value, n, low, high, signature, reason)


def of_each(answers: Sequence[results.Answer], measures: Iterable[Measure]) -> Iterator[results.AnswerScore]:
    """Rows of answer_scores.csv: of corpus figures what an answer has as a corpus of its own."""
    for each in measures:
        if each.metric in PER_ANSWER:
            for answer, value in zip(answers, each.value(each.statistics).tolist(), strict=True):
                yield results.AnswerScore(answer.run, answer.model, answer.category, answer.question, answer.reference, each.metric, value)


def table(scores: Sequence[results.Score]) -> list[str]:
    """Each model's figures on all questions together, in aligned columns: a head and a line per model."""
    whole = {(row.model, row.metric): row.value for row in scores if row.category == results.ALL}
    models, metrics = (
        list(dict.fromkeys(model for model, _ in whole)),
        [name for name in TABLE if any(name == metric for _, metric in whole)],
    )
    rows = [["", *metrics], *([model, *(three(whole[model, metric]) for metric in metrics)] for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows if len(row) > 1]
