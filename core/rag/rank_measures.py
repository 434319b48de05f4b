"""Measures of one ranking, as trec_eval computes them (github.com/usnistgov/trec_eval).

A grade above 0 is relevant; nDCG's gain is the grade itself (Järvelin and Kekäläinen 2002, ACM TOIS 20, with trec_eval's log2(rank + 1));
MAP at k divides by all relevant ones. A question of which nothing is relevant, or for which nothing was found, counts 0.
"""

from collections.abc import Mapping, Sequence

import numpy as np

CUTOFFS = (1, 3, 5, 10)


def cutoffs(candidates: int) -> tuple[int, ...]:
    """The cutoffs that rankings of so many candidates reach."""
    return tuple(k for k in CUTOFFS if k <= candidates)


def names(candidates: int) -> list[str]:
    """What `values` measures, in its order; the reciprocal rank looks at the whole ranking."""
    return ["mrr", *(f"{name}@{k}" for k in cutoffs(candidates) for name in ("hit_rate", "recall", "precision", "ndcg", "map"))]


def values(ranked: Sequence[str], grades: Mapping[str, float], candidates: int) -> list[float]:
    """One ranking's measures, named by `names`. `grades`: of what was judged; all else is not relevant."""
    gains = np.array([max(0.0, grades.get(each, 0.0)) for each in ranked[:candidates]])
    ideal = np.array(sorted((grade for grade in grades.values() if grade > 0), reverse=True))
    hits = gains > 0
    first = float(1 / (hits.argmax() + 1)) if hits.any() else 0.0
    return [first, *(value for k in cutoffs(candidates) for value in _at(k, gains, hits, ideal))]


def _at(k: int, gains: np.ndarray, hits: np.ndarray, ideal: np.ndarray) -> tuple[float, ...]:
    found = int(hits[:k].sum())
    if not found:
        return (0.0,) * 5
    precisions = np.cumsum(hits[:k]) / np.arange(1, len(hits[:k]) + 1)
    average = float(precisions[hits[:k]].sum() / len(ideal))
    return 1.0, found / len(ideal), found / k, _dcg(gains[:k]) / _dcg(ideal[:k]), average


def _dcg(gains: np.ndarray) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())
