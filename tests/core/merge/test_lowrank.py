"""Low-rank algebra against dense float64 algebra."""

import pytest
import torch

from core.adapter import Factor
from core.merge import lowrank

SHAPES = [(40, 24, (3, 5, 2)), (24, 40, (4, 4, 4)), (10, 12, (6, 6, 6)), (1, 7, (2,))]
"""out, in, ranks; in the third the ranks add up to more than the matrix has."""


def factors(out: int, into: int, ranks: tuple[int, ...]) -> list[Factor]:
    draw = torch.Generator().manual_seed(out)
    return [Factor(torch.randn(r, into, generator=draw), torch.randn(out, r, generator=draw), 0.5 + n) for n, r in enumerate(ranks)]


def dense(factor: Factor) -> torch.Tensor:
    return factor.scale * factor.B.double() @ factor.A.double()


def weights(ranks: tuple[int, ...]) -> list[float]:
    return [(-1) ** n * (0.3 + n) for n in range(len(ranks))]


@pytest.mark.parametrize(("out", "into", "ranks"), SHAPES)
def test_weighted_sum(out, into, ranks):
    given = factors(out, into, ranks)
    total = lowrank.weighted_sum(given, weights(ranks))
    assert (total.rank, total.scale) == (sum(ranks), 1.0)
    expected = sum(w * dense(factor) for factor, w in zip(given, weights(ranks), strict=True))
    torch.testing.assert_close(dense(total), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("out", "into", "ranks"), SHAPES)
def test_singular_equals_dense_svd(out, into, ranks):
    total = lowrank.weighted_sum(factors(out, into, ranks), weights(ranks))
    U, S, Vh = lowrank.singular(total)
    expected = torch.linalg.svdvals(dense(total))
    torch.testing.assert_close(S, expected[: len(S)], rtol=1e-12, atol=1e-12)
    assert bool((expected[len(S) :] < 1e-12).all())
    torch.testing.assert_close(U * S @ Vh, dense(total), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 6, 50])
@pytest.mark.parametrize(("out", "into", "ranks"), SHAPES)
def test_truncate_is_the_best_approximation(out, into, ranks, rank):
    total = lowrank.weighted_sum(factors(out, into, ranks), weights(ranks))
    cut = lowrank.truncate(total, rank)
    U, S, Vh = torch.linalg.svd(dense(total), full_matrices=False)
    assert cut.rank == min(rank, sum(ranks), out, into) and cut.scale == 1.0
    torch.testing.assert_close(dense(cut), U[:, :rank] * S[:rank] @ Vh[:rank], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(cut.A.norm(dim=1), cut.B.norm(dim=0))


def test_truncate_of_nothing_is_nothing():
    cut = lowrank.truncate(Factor(torch.randn(4, 8), torch.zeros(6, 4), 2.0), 2)
    assert dense(cut).abs().max() == 0


@pytest.mark.parametrize(("out", "into", "ranks"), SHAPES)
def test_squared_norm(out, into, ranks):
    for factor in factors(out, into, ranks):
        assert lowrank.squared_norm(factor) == pytest.approx(float(dense(factor).square().sum()), rel=1e-12)
    same = factors(out, into, ranks)[0]
    assert lowrank.squared_norm(lowrank.weighted_sum([same, same], [1.0, -1.0])) <= 1e-14 * lowrank.squared_norm(same)
