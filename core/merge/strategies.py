"""Merge strategies: pure functions of one layer, `(factors, weights, rank) -> factor`.

They get the adapters that have this layer and a weight other than 0. Results are float64 and are rounded once, when they are written.
"""

from collections.abc import Callable, Sequence

from core.adapter import Factor
from core.merge import lowrank

Strategy = Callable[[Sequence[Factor], Sequence[float], int], Factor]


def linear(factors: Sequence[Factor], weights: Sequence[float], rank: int) -> Factor:
    """sum_i w_i s_i B_i A_i, exact (Ilharco et al. 2022, arXiv:2212.04089). Its rank is the sum of the ranks; `rank` plays no part."""
    return lowrank.weighted_sum(factors, weights)


def svd(factors: Sequence[Factor], weights: Sequence[float], rank: int) -> Factor:
    """The weighted sum, cut to its `rank` largest singular values (Eckart and Young 1936)."""
    return lowrank.truncate(lowrank.weighted_sum(factors, weights), rank)
