"""What a merge strategy gets: one layer of the adapters that take part."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.adapter import Factor


@dataclass(frozen=True)
class Layer:
    """The adapters that have this layer and a weight other than 0."""

    name: str
    """Such as `model.layers.0.self_attn.q_proj`."""
    factors: Sequence[Factor]
    weights: Sequence[float]
    hashes: Sequence[str]
    """Content hashes of the adapters: what random masks are keyed by, with the layer's name and the seed."""

    @property
    def shape(self) -> tuple[int, int]:
        """[out, in] of the delta."""
        return self.factors[0].B.shape[0], self.factors[0].A.shape[1]

    @property
    def total_rank(self) -> int:
        """The largest rank that the weighted sum can have: min(sum of the ranks, out, in)."""
        return min(sum(factor.rank for factor in self.factors), *self.shape)

    @property
    def strength(self) -> float:
        """sum |w|: what a mean over adapters is multiplied by, so that weights mean the same in every strategy."""
        return sum(map(abs, self.weights))

    def deltas(self) -> Iterator[Tensor]:
        """The full deltas s B A, [out, in], float64, one at a time: none of them needs to stay."""
        for factor in self.factors:
            yield (factor.B.double() * factor.scale) @ factor.A.double()

    def generators(self, seed: int) -> Iterator[torch.Generator]:
        """A source of random numbers for each adapter, keyed by (seed, content hash, layer): the same whoever else takes part."""
        for digest in self.hashes:
            key = hashlib.sha256(f"{seed}|{digest}|{self.name}".encode()).digest()
            yield torch.Generator().manual_seed(int.from_bytes(key[:8], "little", signed=True))
