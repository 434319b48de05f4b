"""Strategies that are a weighted sum, exact or at a chosen rank."""

from core.adapter import Factor
from core.config import MergeConfig
from core.merge import lowrank
from core.merge.layer import Layer
from core.merge.lowrank import Basis, Cut


def linear(layer: Layer, _: MergeConfig) -> Factor:
    """sum_i w_i s_i B_i A_i, exact (Ilharco et al. 2022, arXiv:2212.04089). Its rank is the sum of the ranks."""
    return lowrank.weighted_sum(layer.factors, layer.weights)


cat = linear
"""peft's name for it."""


def svd(layer: Layer, config: MergeConfig) -> Cut:
    """The weighted sum, cut to its `rank` largest singular values (Eckart and Young 1936); no rank: the largest of the adapters."""
    basis = Basis.quick(layer.factors)
    return basis.best(basis.core(layer.weights), config.rank or max(factor.rank for factor in layer.factors))
