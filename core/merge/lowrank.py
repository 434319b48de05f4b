"""Exact algebra on low-rank deltas without ever forming the full matrix.

A delta s B A has thin factors, so with B = Q_B R_B and A^T = Q_A R_A its singular values are those of the small core s R_B R_A^T.
Everything is computed in float64.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.adapter import Factor


def weighted_sum(factors: Sequence[Factor], weights: Sequence[float]) -> Factor:
    """sum_i w_i s_i B_i A_i as one factor of rank sum(r_i): the A stacked, the B stacked with w_i s_i folded in; scale 1, float64."""
    A = torch.cat([factor.A.double() for factor in factors])
    B = torch.cat([factor.B.double() * (weight * factor.scale) for factor, weight in zip(factors, weights, strict=True)], dim=1)
    return Factor(A, B, 1.0)


def singular(factor: Factor) -> tuple[Tensor, Tensor, Tensor]:
    """The delta's SVD at k = min(r, in, out): U [out, k], S [k] falling, V^T [k, in], float64."""
    Q_B, R_B = torch.linalg.qr(factor.B.double() * factor.scale)
    Q_A, R_A = torch.linalg.qr(factor.A.double().T)
    U, S, Vh = torch.linalg.svd(R_B @ R_A.T, full_matrices=False)
    return Q_B @ U, S, Vh @ Q_A.T


def truncate(factor: Factor, rank: int) -> Factor:
    """The delta's best approximation at `rank` or less (Eckart and Young 1936). A and B share the singular values evenly; scale 1."""
    U, S, Vh = singular(factor)
    root = S[:rank].sqrt()
    return Factor(root[:, None] * Vh[:rank], U[:, :rank] * root, 1.0)


def squared_norm(factor: Factor) -> float:
    """Squared Frobenius norm of the delta: tr(A A^T B^T B) s^2. Rounding leaves about 1e-16 of the norms of what is summed."""
    A, B = factor.A.double(), factor.B.double() * factor.scale
    return max(0.0, float(((A @ A.T) * (B.T @ B)).sum()))
