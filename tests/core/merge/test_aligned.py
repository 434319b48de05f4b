"""KnOTS and TSV in small cores, against the papers' formulas on the full deltas in float64."""

import numpy as np
import pytest
import torch

from core.adapter import Factor
from core.config import MergeConfig
from core.merge.aligned import knots, tsv, whiten
from core.merge.layer import Layer
from core.merge.lowrank import Basis

DRAW = torch.Generator().manual_seed(9)
WEIGHTS = [0.7, -1.3, 0.4]


def factor(rank: int, out: int = 18, into: int = 24, scale: float = 1.5) -> Factor:
    return Factor(torch.randn(rank, into, generator=DRAW), torch.randn(out, rank, generator=DRAW), scale)


FACTORS = [factor(3), factor(5, scale=0.4), factor(4)]


def layer(factors, weights=WEIGHTS) -> Layer:
    return Layer("layer", factors, weights, [""] * len(factors))


def config(strategy: str, **fields) -> MergeConfig:
    return MergeConfig(adapters=("a",), strategy=strategy, **fields)


def dense(factor: Factor) -> np.ndarray:
    return factor.scale * factor.B.double().numpy() @ factor.A.double().numpy()


def polar(matrix: np.ndarray) -> np.ndarray:
    P, S, Qh = np.linalg.svd(matrix, full_matrices=False)
    kept = S / S[0] > 1e-7
    return P[:, kept] @ Qh[kept]


def tsv_paper(deltas, ranks, weights) -> np.ndarray:
    """TSV-Merge: concatenate the singular vectors, whiten each side, sum."""
    triples = [np.linalg.svd(delta, full_matrices=False) for delta in deltas]
    U = polar(np.concatenate([U[:, :rank] for (U, _, _), rank in zip(triples, ranks, strict=True)], 1))
    V = polar(np.concatenate([Vh[:rank] for (_, _, Vh), rank in zip(triples, ranks, strict=True)]))
    S = np.concatenate([weight * S[:rank] for (_, S, _), rank, weight in zip(triples, ranks, weights, strict=True)])
    return (U * S) @ V


def knots_paper(deltas, rank, weights, density) -> np.ndarray:
    """KnOTS-TIES: the joint SVD, TIES on the parts of V, and back."""
    U, S, Vh = np.linalg.svd(np.concatenate(deltas, 1), full_matrices=False)
    trimmed = []
    for part in np.split(Vh[:rank], len(deltas), axis=1):
        threshold = np.sort(np.abs(part).ravel())[-int(density * part.size)]
        trimmed.append(part * (np.abs(part) >= threshold))
    votes = np.stack([weight * part for weight, part in zip(weights, trimmed, strict=True)])
    agree = (np.sign(votes) == np.sign(votes.sum(0))) & (votes != 0)
    shares = (np.abs(weights)[:, None, None] * agree).sum(0)
    merged = np.abs(weights).sum() * (votes * agree).sum(0) / np.where(shares > 0, shares, 1)
    return (U[:, :rank] * S[:rank]) @ merged


def close(found: Factor, expected: np.ndarray, bar: float = 1e-9) -> None:
    assert (found.A.dtype, found.B.dtype, found.scale) == (torch.float64, torch.float64, 1.0)
    np.testing.assert_allclose(dense(found), expected, rtol=0, atol=bar * np.abs(expected).max())


def test_tsv_equals_the_dense_computation():
    close(tsv(layer(FACTORS), config("tsv")), tsv_paper(map(dense, FACTORS), [3, 5, 4], WEIGHTS))


def test_tsv_makes_the_directions_orthogonal():
    merged = tsv(layer(FACTORS, [1.0, 1.0, 1.0]), config("tsv"))
    torch.testing.assert_close(merged.A @ merged.A.T, torch.eye(12, dtype=torch.float64), rtol=0, atol=1e-12)
    singular = np.sort(np.concatenate([np.linalg.svd(dense(each), compute_uv=False)[: each.rank] for each in FACTORS]))
    np.testing.assert_allclose(np.sort(merged.B.norm(dim=0).numpy()), singular, rtol=1e-10)


def test_tsv_cuts_each_adapter_where_the_ranks_do_not_fit():
    """Three of rank 4 on a layer of rank 6: two directions each."""
    narrow = [factor(4, out=6, into=9) for _ in range(3)]
    merged = tsv(layer(narrow), config("tsv"))
    assert merged.rank == 6
    close(merged, tsv_paper(map(dense, narrow), [2, 2, 2], WEIGHTS))


def test_tsv_of_orthogonal_adapters_is_the_weighted_sum():
    left, right = (torch.linalg.qr(torch.randn(size, 6, generator=DRAW))[0] for size in (18, 24))
    apart = [Factor(right[:, :2].T, left[:, :2], 2.0), Factor(right[:, 2:].T, left[:, 2:], 0.5)]
    close(tsv(layer(apart, [0.3, -2.0]), config("tsv")), 0.3 * dense(apart[0]) - 2 * dense(apart[1]), bar=1e-6)


def test_a_shared_A_stays_within_its_few_directions():
    """LoRA-FA: all read the same directions, so V is one basis shared evenly, not completed by arbitrary directions."""
    A = torch.randn(4, 24, generator=DRAW)
    shared = [Factor(A, torch.randn(18, 4, generator=DRAW), 1.0) for _ in range(3)]
    merged = tsv(layer(shared), config("tsv"))
    close(merged, tsv_paper(map(dense, shared), [4, 4, 4], WEIGHTS))
    assert np.linalg.matrix_rank(dense(merged), tol=1e-8) == 4
    close(knots(layer(shared), config("knots", density=0.5)), knots_paper(list(map(dense, shared)), 12, WEIGHTS, 0.5))


def test_twins_share_one_direction_and_the_order_does_not_matter():
    twins = [FACTORS[0], FACTORS[1], FACTORS[0]]
    merged = tsv(layer(twins), config("tsv"))
    close(tsv(layer(twins[::-1], WEIGHTS[::-1]), config("tsv")), dense(merged))
    close(tsv(layer([FACTORS[0]] * 2, [1.0, 1.0]), config("tsv")), dense(FACTORS[0]))
    close(knots(layer([FACTORS[0]] * 2, [0.5, 0.5]), config("knots", density=1)), dense(FACTORS[0]))


@pytest.mark.parametrize("density", [0.2, 0.7, 1.0])
def test_knots_equals_the_joint_svd_of_the_full_deltas(density):
    close(knots(layer(FACTORS), config("knots", density=density)), knots_paper(list(map(dense, FACTORS)), 12, WEIGHTS, density))


def test_lambda_is_the_strength_of_knots():
    one, other = (dense(knots(layer(FACTORS), config("knots", density=0.5, ties_lambda=value))) for value in (1.0, 3.0))
    np.testing.assert_allclose(other, 3 * one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("strategy", [tsv, knots])
def test_adapters_without_a_delta(strategy):
    nothing = Factor(torch.randn(4, 24, generator=DRAW), torch.zeros(18, 4), 1.0)
    settings = config(strategy.__name__, density=1 if strategy is knots else None)
    with_nothing = strategy(layer([FACTORS[0], nothing, FACTORS[2]]), settings)
    strength = 2.4 / 1.1 if strategy is knots else 1.0  # the absent adapter's weight counts in sum |w|
    close(with_nothing, strength * dense(strategy(layer([FACTORS[0], FACTORS[2]], [0.7, 0.4]), settings)))
    assert np.abs(dense(strategy(layer([nothing, nothing], [1.0, 1.0]), settings))).max() == 0


def test_whiten_is_the_nearest_orthogonal_matrix():
    directions = torch.randn(9, 5, dtype=torch.float64, generator=DRAW)
    white = whiten(directions)
    torch.testing.assert_close(white.T @ white, torch.eye(5, dtype=torch.float64))
    for _ in range(20):
        other = torch.linalg.qr(torch.randn(9, 5, dtype=torch.float64, generator=DRAW))[0]
        assert float((white - directions).norm()) < float((other - directions).norm())


def test_no_full_delta_is_formed():
    """A layer whose full delta would take 80 GB."""
    huge = [Factor(torch.randn(2, 100_000, generator=DRAW), torch.randn(100_000, 2, generator=DRAW), 1.0) for _ in range(2)]
    for merged in (tsv(layer(huge, [1.0, 1.0]), config("tsv")), knots(layer(huge, [1.0, 1.0]), config("knots", density=0.5))):
        assert merged.rank == 4


def test_cores_are_the_deltas_in_the_basis():
    basis = Basis.of(FACTORS)
    for core, each in zip(basis.cores(), FACTORS, strict=True):
        np.testing.assert_allclose((basis.Q_B @ core @ basis.Q_A.T).numpy(), dense(each), rtol=1e-11, atol=1e-12)
