"""Intervals and tests that tables and pages share: Wilson, bootstrap over questions, McNemar, Cohen's kappa, Holm. At 95 %.

Light: numpy; scipy inside functions. Rows that belong to one question are not independent: `clustered` and `bootstrap` over sums per
question allow for that.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

RESAMPLES = 1000
CELLS = 40_000_000
"""Numbers that resamples may hold at once."""
LEVEL = 0.95
FEWEST = 6
"""Questions that two models must share before their difference is tested: of five, even five differences of one sign are no evidence at
95 % (sign test, two-sided: 2 / 2^5 = 0.06), and a bootstrap of so few would find an interval all the same."""
Z = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval and the number of questions (or replies) behind it; NaN where there is none."""

    value: float
    low: float
    high: float
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


def wilson(successes: int, n: int) -> Estimate:
    """A share with its Wilson score interval (Wilson 1927, J. Am. Stat. Assoc. 22)."""
    return _wilson(successes / n, n, n) if n else NOTHING


def clustered(hits: Sequence[Any] | np.ndarray, clusters: Sequence[Any] | np.ndarray) -> Estimate:
    """A share of rows that are dependent within clusters: Wilson's interval at the effective sample size.

    `hits` [n] 0 or 1, `clusters` [n] labels. The effective size is n over the design effect (Kish 1965), the variance over clusters being
    the linearised one of a ratio, with Student's t for few clusters (Korn and Graubard 1998, Survey Methodology 24).
    One made-up cluster of hits and one of misses join that variance, as in Bonett and Price 2012 (J. Educ. Behav. Stat. 37): so
    the interval collapses neither at 0 and 1 nor where every cluster is half hits. With one row per cluster it is `wilson`.
    """
    if len(hits) == 0:
        return NOTHING
    _, where = np.unique(np.asarray(clusters), return_inverse=True)
    return clustered_sums(np.bincount(where, weights=np.asarray(hits, dtype=float)), np.bincount(where))


def clustered_sums(found: np.ndarray, sizes: np.ndarray) -> Estimate:
    """`clustered`, from the hits and the rows of each cluster: [clusters] and [clusters]."""
    n = int(sizes.sum())
    return _wilson(float(found.sum() / n), n / _design_effect(found, sizes), n) if n else NOTHING


def _design_effect(found: np.ndarray, sizes: np.ndarray) -> float:
    """Variance of a share over clusters, over its variance were all rows independent. `found` [clusters] hits, `sizes` [clusters] rows."""
    from scipy.special import stdtrit

    rows, count, mean = sizes.sum(), len(sizes), sizes.mean()
    if mean == 1:
        return 1.0
    found, sizes = np.append(found, (0.0, mean)), np.append(sizes, (mean, mean))
    share = found.sum() / sizes.sum()
    over_clusters = ((found - share * sizes) ** 2).sum() * (count + 2) / (count + 1)
    over_rows = sizes.sum() * share * (1 - share)
    few = stdtrit(max(count - 1, 1), (1 + LEVEL) / 2) / stdtrit(rows - 1, (1 + LEVEL) / 2)
    return float(over_clusters / over_rows * few**2)


def _wilson(share: float, effective: float, n: int) -> Estimate:
    z2 = Z * Z
    middle = (share + z2 / (2 * effective)) / (1 + z2 / effective)
    half = Z * math.sqrt(share * (1 - share) / effective + z2 / (4 * effective * effective)) / (1 + z2 / effective)
    low = 0.0 if share == 0 else middle - half
    high = 1.0 if share == 1 else middle + half
    return Estimate(share, low, high, n)


@lru_cache(maxsize=1)
def draws(n: int, seed: int) -> np.ndarray:
    """How often each of `n` questions is drawn in each resample: [RESAMPLES, n], each row sums to n.

    One seed, one set of draws: intervals of two models on the same questions can be compared.
    """
    return next(_drawn(n, seed, RESAMPLES))


def _drawn(n: int, seed: int, at_once: int) -> Iterator[np.ndarray]:
    """The same, so many resamples at a time: [at_once, n]."""
    random = np.random.default_rng(seed)
    for done in range(0, RESAMPLES, at_once):
        yield random.multinomial(n, np.full(n, 1 / n), size=min(at_once, RESAMPLES - done)).astype(float)


def bootstrap(statistics: np.ndarray, value: Callable[[np.ndarray], np.ndarray], seed: int) -> tuple[float, float] | None:
    """Percentile interval: questions are drawn again with replacement, the figure is taken anew (Efron 1979, Annals of Statistics 7).

    `statistics` [n, s]: one row per question; `value`: their sums [m, s] -> figures [m].
    None for fewer than two questions, or where the figure is not finite in every resample.
    """
    values = resampled(statistics, value, seed)
    if values is None or not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def resampled(statistics: np.ndarray, value: Callable[[np.ndarray], np.ndarray], seed: int) -> np.ndarray | None:
    """The figure in each resample: [RESAMPLES]; None for fewer than two questions. Arguments as of `bootstrap`."""
    if len(statistics) < 2:
        return None
    with np.errstate(all="ignore"):
        return value(_sums(statistics, seed))


def _sums(statistics: np.ndarray, seed: int) -> np.ndarray:
    """[RESAMPLES, s] sums over the questions of each resample; those of very many questions are drawn piece by piece, and not kept."""
    n = len(statistics)
    if n * RESAMPLES <= CELLS:
        return np.asarray(draws(n, seed) @ statistics)
    return np.concatenate([drawn @ statistics for drawn in _drawn(n, seed, max(1, CELLS // n))])


def bootstrap_p(differences: np.ndarray) -> float:
    """Two-sided p-value of no difference, from resampled paired differences [B]: below 0.05 where their 95 % interval excludes zero.

    Efron and Tibshirani 1993, An Introduction to the Bootstrap, ch. 15; of answers to the same questions as in Koehn 2004 (EMNLP).
    No p-value is below 2 / (B + 1).
    """
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(differences)))


def per_cluster(statistics: np.ndarray, clusters: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Sums per cluster, in the order of first appearance: [n, s] and [n] labels -> [clusters, s]. `bootstrap` of them draws clusters."""
    _, first, where = np.unique(np.asarray(clusters), return_index=True, return_inverse=True)
    sums = np.zeros((len(first), statistics.shape[1]))
    np.add.at(sums, where, statistics)
    return sums[np.argsort(first)]


def mcnemar(only_one: int, only_other: int) -> float:
    """Exact two-sided p-value that both succeed equally often, from the counts where one alone did (McNemar 1947, Psychometrika 12)."""
    from scipy.special import bdtr

    n = only_one + only_other
    return min(1.0, 2 * float(bdtr(min(only_one, only_other), n, 0.5))) if n else 1.0


def kappa(one: Sequence[Any], other: Sequence[Any]) -> Estimate:
    """Cohen's kappa of two raters' words on the same things, with its large-sample interval.

    Cohen 1960 (Educ. Psychol. Meas. 20); variance of Fleiss, Cohen and Everitt 1969 (Psychol. Bull. 72), as in statsmodels.
    NaN where both always say the same one word: agreement by chance is 1 then.
    """
    n = len(one)
    words, where = np.unique([str(word) for word in (*one, *other)], return_inverse=True)
    if len(words) < 2:
        return Estimate(math.nan, math.nan, math.nan, n)
    table = np.zeros((len(words), len(words)))
    np.add.at(table, (where[:n], where[n:]), 1 / n)
    rows, columns = table.sum(1), table.sum(0)
    agreed, chance = float(np.trace(table)), float(rows @ columns)
    value = (agreed - chance) / (1 - chance)
    hit = float((np.diag(table) * (1 - (rows + columns) * (1 - value)) ** 2).sum())
    weights = (columns[:, None] + rows[None, :]) ** 2
    miss = (1 - value) ** 2 * float((table * weights).sum() - (np.diag(table) * np.diag(weights)).sum())
    variance = (hit + miss - (value - chance * (1 - value)) ** 2) / ((1 - chance) ** 2 * n)
    half = Z * math.sqrt(max(0.0, variance))
    return Estimate(value, value - half, value + half, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values held against all of them at once (Holm 1979, Scand. J. Stat. 6), in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    result = np.empty(len(order))
    result[order] = np.minimum(1.0, np.maximum.accumulate(adjusted))
    return [float(p) for p in result]
