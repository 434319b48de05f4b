"""Low-rank algebra against dense float64 algebra."""

import pytest
import torch

from core.adapter import Factor
from core.merge import lowrank
from core.merge.lowrank import Basis

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


@pytest.mark.parametrize("kind", [Basis.of, Basis.quick])
@pytest.mark.parametrize(("out", "into", "ranks"), SHAPES)
def test_a_cached_basis_holds_every_mix(out, into, ranks, kind):
    """Bases once, then other weights: the core in them is the dense sum."""
    given = factors(out, into, ranks)
    basis = kind(given)
    for mix in (weights(ranks), [1.0] + [0.0] * (len(ranks) - 1)):
        expected = sum(w * dense(factor) for factor, w in zip(given, mix, strict=True))
        found = basis.Q_B.double() @ basis.core(mix) @ basis.Q_A.double().T
        torch.testing.assert_close(found, expected, rtol=0, atol=bar(kind) * float(expected.abs().max()))
    for Q in (basis.Q_B.double(), basis.Q_A.double()):
        torch.testing.assert_close(Q.T @ Q, torch.eye(Q.shape[1], dtype=torch.float64), rtol=0, atol=10 * bar(kind))


@pytest.mark.parametrize("kind", [Basis.of, Basis.quick])
@pytest.mark.parametrize(("out", "into", "ranks"), SHAPES)
def test_best_equals_the_dense_svd(out, into, ranks, kind):
    given = factors(out, into, ranks)
    total = sum(w * dense(factor) for factor, w in zip(given, weights(ranks), strict=True))
    U, S, Vh = torch.linalg.svd(total, full_matrices=False)
    basis = kind(given)
    for rank in (1, 3, 50):
        cut = basis.best(basis.core(weights(ranks)), rank)
        torch.testing.assert_close(dense(cut), U[:, :rank] * S[:rank] @ Vh[:rank], rtol=0, atol=10 * bar(kind) * float(S[0]))
        assert cut.energy_kept == pytest.approx(float(S[:rank].square().sum() / S.square().sum()), rel=1e-9)


def bar(kind) -> float:
    """QR stays in float64; the quick basis is float32, as files are."""
    return 1e-12 if kind == Basis.of else 1e-6


def test_only_cores_have_the_same_singular_values():
    given = factors(40, 24, (3, 5, 2))
    cores = [Basis.of(given, only_cores=only).core([1.0, -1.0, 0.5]) for only in (True, False)]
    torch.testing.assert_close(*map(torch.linalg.svdvals, cores), rtol=1e-12, atol=1e-12)


HARD = {
    "twins that cancel": ([1.0, -1.0, 0.3], lambda one, other: [one, one, other]),
    "a shared A": ([1.0, 0.5, -2.0], lambda one, other: [one, Factor(one.A, one.B.flip(0), 2.0), other]),
    "nearly the same A": ([1.0, -0.9, 0.1], lambda one, other: [one, Factor(one.A + 1e-4 * other.A[:4], one.B, 0.5), other]),
    "factors of very different size": ([1.0, 0.5, -2.0], lambda one, other: [one, Factor(other.A * 1e6, other.B * 1e-6, 1.0), other]),
    "an untrained adapter": ([1.0, 0.5, 1.0], lambda one, other: [one, Factor(other.A, torch.zeros_like(other.B), 1.0), other]),
}


@pytest.mark.parametrize("case", HARD)
def test_the_quick_basis_of_adapters_that_depend_on_each_other(case):
    mix, make = HARD[case]
    given = make(*factors(60, 50, (4, 6)))
    total = sum(w * dense(factor) for factor, w in zip(given, mix, strict=True))
    U, S, Vh = torch.linalg.svd(total, full_matrices=False)
    basis = Basis.quick(given)
    cut = basis.best(basis.core(mix), 3)
    torch.testing.assert_close(dense(cut), U[:, :3] * S[:3] @ Vh[:3], rtol=0, atol=3e-6 * float(total.abs().max()))


@pytest.mark.parametrize("rank", [1, 4, 24, 60])
@pytest.mark.parametrize("shape", [(40, 24), (24, 40), (30, 30)])
def test_refactor_is_the_best_approximation_of_a_full_matrix(shape, rank):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(rank), dtype=torch.float64)
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    cut = lowrank.refactor(matrix, rank)
    assert cut.rank == min(rank, *shape) and cut.scale == 1.0
    torch.testing.assert_close(dense(cut), U[:, :rank] * S[:rank] @ Vh[:rank], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(cut.A.norm(dim=1), cut.B.norm(dim=0))
    assert cut.energy_kept == pytest.approx(float(S[:rank].square().sum() / S.square().sum()), rel=1e-12)


def test_refactor_of_a_matrix_of_lower_rank_gives_it_back():
    matrix = dense(factors(40, 24, (3,))[0])
    torch.testing.assert_close(dense(lowrank.refactor(matrix, 10)), matrix, rtol=0, atol=1e-9)


def test_refactor_of_nothing_is_nothing():
    cut = lowrank.refactor(torch.zeros(6, 4, dtype=torch.float64), 2)
    assert dense(cut).abs().max() == 0 and cut.energy_kept == 1


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
