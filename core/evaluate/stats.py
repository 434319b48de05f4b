"""Bootstrap intervals: questions are drawn again with replacement, and the figure is taken anew (Efron 1979, Annals of Statistics 7).

Every model's figures are resampled with the same draws, so intervals of two models on the same questions can be compared.
"""

from functools import lru_cache

import numpy as np

from core.evaluate.batch import Measure

RESAMPLES = 1000
LEVEL = 0.95


def interval(measure: Measure, rows: np.ndarray, seed: int) -> tuple[float, float] | None:
    """Low and high end of the 95 % percentile interval over the questions `rows`; None for fewer than two questions or no finite value."""
    if len(rows) < 2:
        return None
    with np.errstate(all="ignore"):
        values = measure.value(draws(len(rows), seed) @ measure.statistics[rows])
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@lru_cache(maxsize=1)
def draws(n: int, seed: int) -> np.ndarray:
    """How often each of `n` questions is drawn in each resample: [RESAMPLES, n], each row sums to n."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
