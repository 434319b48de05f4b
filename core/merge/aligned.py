"""Strategies that first bring the adapters into common directions. They work on small cores and never form a full delta.

All adapters of a layer read and write within two small subspaces: s_i B_i A_i = Q_B M_i Q_A^T with orthonormal Q_B, Q_A and cores M_i of
the size of the ranks' sum (`lowrank.Basis`). Q_B and Q_A change neither singular values nor angles, so what a paper says of the full
deltas holds for the cores (arXiv:2509.17786). Directions that carry nothing are dropped: adapters may share A or be the same.
"""

import torch
from torch import Tensor

from core.adapter import Factor
from core.config import MergeConfig
from core.merge.layer import Layer
from core.merge.lowrank import Basis, weighted_sum
from core.merge.sparse import agreeing_mean, largest, strength

NEGLIGIBLE = 1e-7
"""Singular values below this share of the largest are rounding: files of fp32 hold no more."""


def knots(layer: Layer, config: MergeConfig) -> Factor:
    """[d_1 ... d_n] = U S [V_1^T ... V_n^T]; TIES on the V_i^T, [R, in]; U S V^T (Stoica et al. 2024, arXiv:2410.19735).

    As in the paper, the joint SVD knows no weights; they count in TIES.
    """
    assert config.density is not None
    basis = Basis.of(layer.factors)
    U, S, Vh = _supported(*torch.linalg.svd(torch.cat(basis.cores(), dim=1), full_matrices=False))
    if not len(S):
        return weighted_sum(layer.factors, layer.weights)  # every delta is 0
    parts = [part @ basis.Q_A.T for part in Vh.reshape(len(Vh), len(layer.factors), -1).unbind(1)]
    trimmed = [part * largest(part.abs(), int(config.density * part.numel())) for part in parts]
    return Factor(agreeing_mean(trimmed, layer.weights) * strength(layer, config), basis.Q_B @ (U * S), 1.0)


def tsv(layer: Layer, _: MergeConfig) -> Factor:
    """TSV-Merge (Gargiulo et al. 2024, arXiv:2412.00081) in core space (Panariello et al. 2025, arXiv:2509.17786).

    The singular vectors of all deltas side by side are made orthogonal to each other, and sum_i w_i U_i S_i V_i^T is taken with those.
    Each adapter keeps its whole rank, or, where the ranks' sum exceeds the layer's, its n-th part of it.
    """
    basis = Basis.of(layer.factors)
    triples = [_supported(*torch.linalg.svd(core, full_matrices=False)) for core in basis.cores()]
    if sum(len(S) for _, S, _ in triples) > min(layer.shape):
        room = min(layer.shape) // len(triples)
        triples = [(U[:, :room], S[:room], Vh[:room]) for U, S, Vh in triples]
    U, Vh = torch.cat([U for U, _, _ in triples], dim=1), torch.cat([Vh for _, _, Vh in triples])
    if not len(Vh):
        return weighted_sum(layer.factors, layer.weights)  # every delta is 0
    S = torch.cat([weight * S for weight, (_, S, _) in zip(layer.weights, triples, strict=True)])
    return Factor(whiten(Vh) @ basis.Q_A.T, basis.Q_B @ (whiten(U) * S), 1.0)


def whiten(directions: Tensor) -> Tensor:
    """The nearest matrix whose directions are orthogonal: P Q^T of the SVD P S Q^T. Directions that coincide stay one, shared evenly."""
    P, _, Qh = _supported(*torch.linalg.svd(directions, full_matrices=False))
    return P @ Qh


def _supported(U: Tensor, S: Tensor, Vh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A singular value decomposition without what is rounding."""
    kept = S[0] * NEGLIGIBLE < S
    return U[:, kept], S[kept], Vh[kept]
