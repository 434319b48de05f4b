"""The strategies as pure functions, against dense float64 references."""

import pytest
import torch

from core.adapter import Factor
from core.merge import STRATEGIES
from core.merge.strategies import linear, svd

DRAW = torch.Generator().manual_seed(3)
FACTORS = [
    Factor(torch.randn(r, 20, generator=DRAW), torch.randn(30, r, generator=DRAW), s) for r, s in ((2, 2.0), (5, 0.25), (3, 8 / 3**0.5))
]
WEIGHTS = [0.7, -1.3, 0.2]


def dense(factor: Factor) -> torch.Tensor:
    return factor.scale * factor.B.double() @ factor.A.double()


EXACT = sum(weight * dense(factor) for factor, weight in zip(FACTORS, WEIGHTS, strict=True))


def test_linear_is_the_exact_sum():
    merged = linear(FACTORS, WEIGHTS, rank=1)
    assert merged.rank == 10
    torch.testing.assert_close(dense(merged), EXACT, rtol=1e-13, atol=1e-13)


def test_linear_has_no_cross_terms():
    """What peft's own linear gets wrong: half of each of two adapters is half the sum of their deltas."""
    merged = linear(FACTORS[:2], [0.5, 0.5], rank=1)
    torch.testing.assert_close(dense(merged), (dense(FACTORS[0]) + dense(FACTORS[1])) / 2, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("rank", [1, 4, 10, 64])
def test_svd_equals_the_dense_truncated_svd(rank):
    U, S, Vh = torch.linalg.svd(EXACT, full_matrices=False)
    merged = svd(FACTORS, WEIGHTS, rank)
    assert merged.rank == min(rank, 10)
    torch.testing.assert_close(dense(merged), U[:, :rank] * S[:rank] @ Vh[:rank], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_pure_and_cited(name):
    entry, before = STRATEGIES[name], [factor.B.clone() for factor in FACTORS]
    strategy = entry.load()
    one, two = strategy(FACTORS, WEIGHTS, 4), strategy(FACTORS, WEIGHTS, 4)
    assert torch.equal(one.A, two.A) and torch.equal(one.B, two.B)
    assert all(torch.equal(factor.B, kept) for factor, kept in zip(FACTORS, before, strict=True))
    assert one.A.shape[1] == 20 and one.B.shape[0] == 30
    assert entry.reference and entry.summary
