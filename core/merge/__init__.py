"""Merge strategies: one row each."""

from core.registry import Entry

STRATEGIES = {
    "linear": Entry(
        "Linear: exact weighted sum",
        "core.merge.strategies:linear",
        "Ilharco et al. 2022, Editing Models with Task Arithmetic, arXiv:2212.04089",
        "The weighted sum of the deltas, exact; its rank is the sum of the ranks.",
    ),
    "svd": Entry(
        "SVD: weighted sum at a chosen rank",
        "core.merge.strategies:svd",
        "Eckart and Young 1936, The approximation of one matrix by another of lower rank, Psychometrika 1",
        "The best approximation of the exact weighted sum at the rank that you choose.",
    ),
}
