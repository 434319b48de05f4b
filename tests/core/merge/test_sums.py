"""Weighted sums, exact and cut, against dense float64 references; and what holds for every row of the table."""

import pytest
import torch

from core.adapter import Factor
from core.config import MergeConfig
from core.merge import STRATEGIES
from core.merge.layer import Layer
from core.merge.sums import cat, linear, svd

DRAW = torch.Generator().manual_seed(3)
FACTORS = [
    Factor(torch.randn(r, 20, generator=DRAW), torch.randn(30, r, generator=DRAW), s) for r, s in ((2, 2.0), (5, 0.25), (3, 8 / 3**0.5))
]
WEIGHTS = [0.7, -1.3, 0.2]


def layer(weights=WEIGHTS) -> Layer:
    return Layer("model.layers.0.self_attn.q_proj", FACTORS[: len(weights)], weights, [f"hash-{n}" for n in range(len(weights))])


def config(strategy="linear", **fields) -> MergeConfig:
    return MergeConfig(adapters=("a", "b", "c"), strategy=strategy, **fields)


def dense(factor: Factor) -> torch.Tensor:
    return factor.scale * factor.B.double() @ factor.A.double()


EXACT = sum(weight * dense(factor) for factor, weight in zip(FACTORS, WEIGHTS, strict=True))


@pytest.mark.parametrize("strategy", [linear, cat])
def test_linear_is_the_exact_sum(strategy):
    merged = strategy(layer(), config())
    assert merged.rank == 10
    torch.testing.assert_close(dense(merged), EXACT, rtol=1e-13, atol=1e-13)


def test_linear_has_no_cross_terms():
    """What peft's own linear gets wrong: half of each of two adapters is half the sum of their deltas."""
    merged = linear(layer([0.5, 0.5]), config())
    torch.testing.assert_close(dense(merged), (dense(FACTORS[0]) + dense(FACTORS[1])) / 2, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("rank", [1, 4, 10, 64])
def test_svd_equals_the_dense_truncated_svd(rank):
    U, S, Vh = torch.linalg.svd(EXACT, full_matrices=False)
    merged = svd(layer(), config("svd", rank=rank))
    assert merged.rank == min(rank, 10)
    torch.testing.assert_close(dense(merged), U[:, :rank] * S[:rank] @ Vh[:rank], rtol=1e-5, atol=1e-6 * float(S[0]))
    assert merged.energy_kept == pytest.approx(float(S[:rank].square().sum() / S.square().sum()), rel=1e-12)


def test_svd_has_the_largest_rank_by_default():
    assert svd(layer(), config("svd")).rank == 5


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_pure_and_cited(name):
    entry, before = STRATEGIES[name], [factor.B.clone() for factor in FACTORS]
    strategy = entry.load()
    fields = config(name, density=0.5 if "density" in entry.fields else None)
    one, two = strategy(layer(), fields), strategy(layer(), fields)
    if isinstance(one, Factor):
        assert torch.equal(one.A, two.A) and torch.equal(one.B, two.B) and one.scale == two.scale
        assert one.A.shape[1] == 20 and one.B.shape[0] == 30
    else:
        assert torch.equal(one, two) and one.dtype == torch.float64 and one.shape == (30, 20)
    assert all(torch.equal(factor.B, kept) for factor, kept in zip(FACTORS, before, strict=True))
    assert entry.reference and entry.summary and entry.use_when
