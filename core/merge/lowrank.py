"""Algebra on low-rank deltas without ever forming the full matrix.

A delta s B A has thin factors, so with B = Q_B R_B and A^T = Q_A R_A its singular values are those of the small core s R_B R_A^T.
Of a weighted sum, Q and R don't depend on the weights: a `Basis` keeps them, and another mix costs no more than its core.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.adapter import Factor

INDEPENDENT = 1e-14
"""Eigenvalues of a Gram matrix below this share of the largest are rounding."""


@dataclass(frozen=True)
class Cut(Factor):
    """The best approximation of a matrix at a rank (Eckart and Young 1936). A and B share the singular values evenly; scale 1."""

    energy_kept: float
    """Share of the matrix's squared Frobenius norm; 1 where it is 0."""


@dataclass(frozen=True)
class Basis:
    """Orthonormal bases of all that the adapters of one layer read and write, and what each adapter is in them: s B A = Q_B C Q_A^T."""

    Q_B: Tensor
    """[out, p]"""
    R_B: Tensor
    """[p, sum r], float64"""
    R_A: Tensor
    """[q, sum r], float64"""
    Q_A: Tensor
    """[in, q]"""
    scales: Tensor
    """[sum r]: each column's adapter's scale."""
    owners: Tensor
    """[sum r]: each column's adapter."""

    @classmethod
    def of(cls, factors: Sequence[Factor], only_cores: bool = False) -> "Basis":
        """By QR decomposition, in float64. `only_cores`: without Q, at half the cost."""
        mode = "r" if only_cores else "reduced"
        Q_B, R_B = torch.linalg.qr(torch.cat([factor.B for factor in factors], dim=1).double(), mode)
        Q_A, R_A = torch.linalg.qr(torch.cat([factor.A for factor in factors]).double().T, mode)
        return cls(Q_B, R_B, R_A, Q_A, *_columns(factors))

    @classmethod
    def quick(cls, factors: Sequence[Factor]) -> "Basis":
        """By Gram matrices, in half the time of QR. Q is float32, as files are: deltas are right to 1e-6 of the factors' norms."""
        Q_B, R_B = _orthonormal(torch.cat([factor.B for factor in factors], dim=1))
        Q_A, R_A = _orthonormal(torch.cat([factor.A for factor in factors]).T)
        return cls(Q_B, R_B, R_A, Q_A, *_columns(factors))

    def core(self, weights: Sequence[float]) -> Tensor:
        """The core of the weighted sum, [p, q]."""
        shares = self.scales * torch.tensor(weights, dtype=torch.float64)[self.owners]
        return (self.R_B * shares) @ self.R_A.T

    def cores(self) -> list[Tensor]:
        """The core of each adapter's delta, [p, q]."""
        adapters = int(self.owners[-1]) + 1
        return [self.core([float(other == one) for other in range(adapters)]) for one in range(adapters)]

    def best(self, core: Tensor, rank: int) -> Cut:
        """The delta with this core, at `rank` or less."""
        if not core.numel():  # every delta is 0: one row of zeros
            return Cut(self.Q_A.new_zeros(1, len(self.Q_A)), self.Q_B.new_zeros(len(self.Q_B), 1), 1.0, 1.0)
        cut = refactor(core, rank)
        return Cut(cut.A.to(self.Q_A.dtype) @ self.Q_A.T, self.Q_B @ cut.B.to(self.Q_B.dtype), 1.0, cut.energy_kept)


def weighted_sum(factors: Sequence[Factor], weights: Sequence[float]) -> Factor:
    """sum_i w_i s_i B_i A_i as one factor of rank sum(r_i): the A stacked, the B stacked with w_i s_i folded in; scale 1, float64."""
    A = torch.cat([factor.A.double() for factor in factors])
    B = torch.cat([factor.B.double() * (weight * factor.scale) for factor, weight in zip(factors, weights, strict=True)], dim=1)
    return Factor(A, B, 1.0)


def truncate(factor: Factor, rank: int) -> Cut:
    """A delta at `rank` or less."""
    basis = Basis.of([factor])
    return basis.best(basis.core([1.0]), rank)


def refactor(delta: Tensor, rank: int) -> Cut:
    """A matrix [out, in], in float64, at `rank` or less, from the eigenvectors of its smaller Gram matrix: half the work of an SVD.

    Squaring loses singular values below 1e-8 of the largest, which are nothing beside what the cut to `rank` loses.
    """
    if delta.shape[0] < delta.shape[1]:
        turned = refactor(delta.T, rank)
        return Cut(turned.B.T, turned.A.T, 1.0, turned.energy_kept)
    _, vectors = torch.linalg.eigh(delta.T @ delta)
    V = vectors[:, -rank:]
    B = delta @ V
    kept, energy, root = float(B.square().sum()), float(delta.square().sum()), B.norm(dim=0).sqrt()
    share = min(1.0, kept / energy) if energy else 1.0
    return Cut((V * root).T.contiguous(), B / root.clamp(min=torch.finfo(B.dtype).tiny), 1.0, share)


def inner(one: Factor, other: Factor) -> float:
    """Frobenius inner product of two deltas: tr(A_2 A_1^T B_1^T B_2) s_1 s_2."""
    A, B = one.A.double() @ other.A.double().T, one.B.double().T @ other.B.double()
    return float((A * B).sum()) * one.scale * other.scale


def squared_norm(factor: Factor) -> float:
    """Squared Frobenius norm of the delta. Rounding leaves about 1e-16 of the norms of what is summed."""
    return max(0.0, inner(factor, factor))


def _orthonormal(columns: Tensor) -> tuple[Tensor, Tensor]:
    """columns [n, k] = Q R with Q [n, p] orthonormal, R [p, k]. Columns count by their direction, however long they are."""
    exact = columns.double()
    gram = exact.T @ exact
    lengths = gram.diagonal().sqrt()
    lengths = torch.where(lengths > 0, lengths, 1.0)
    values, vectors = torch.linalg.eigh(gram / lengths / lengths[:, None])
    independent = values > INDEPENDENT * values[-1]
    root, vectors = values[independent].sqrt(), vectors[:, independent]
    return columns.float() @ (vectors / root / lengths[:, None]).float(), (vectors * root).T * lengths


def _columns(factors: Sequence[Factor]) -> tuple[Tensor, Tensor]:
    """Scale and adapter of each column of the factors side by side."""
    ranks = torch.tensor([factor.rank for factor in factors])
    scales = torch.tensor([factor.scale for factor in factors], dtype=torch.float64)
    return scales.repeat_interleave(ranks), torch.arange(len(factors)).repeat_interleave(ranks)
