"""Keys and values of the rows under way, layer by layer: rows join and leave, and every step adds a slot, without copying what stands.

torch.cat, by which transformers' own cache grows, took a third of a step of 64 rows on a CPU.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

ROOM = 32
"""Free slots that a layer gets when it needs more."""


class Full(DynamicLayer):  # type: ignore[misc]
    """A layer that sees every slot. Its rows stand in buffers, [rows, heads, slots, dim], with free slots behind the newest."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: list[Tensor] = []
        self._rows = self._begin = self._end = 0

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add the newest slots of all rows. Returns all keys and values."""
        new = keys.shape[2]
        if self._end + new > self._buffers[0].shape[2]:
            self._move(self._rows, self._end - self._begin, new + ROOM)
        for buffer, each in zip(self._buffers, (keys, values), strict=True):
            buffer[: self._rows, :, self._end : self._end + new] = each
        self._end += new
        self._show()
        return self.keys, self.values

    def join(self, other: DynamicLayer) -> None:
        """Rows of another layer take places behind the last, ends aligned."""
        if not self._buffers:
            self._buffers = [each[:0, :, :0] for each in (other.keys, other.values)]
            self.lazy_initialization(other.keys, other.values)
        rows, slots = self._rows + other.keys.shape[0], other.keys.shape[2]
        widest = max(slots, self._end - self._begin)
        if rows > self._buffers[0].shape[0] or widest > self._end:
            self._move(rows, widest, ROOM)
        self._begin = self._end - widest
        for buffer, each in zip(self._buffers, (other.keys, other.values), strict=True):
            buffer[self._rows : rows, :, self._end - slots : self._end] = each
            buffer[self._rows : rows, :, self._begin : self._end - slots] = 0
        self._rows = rows
        self._show()

    def remove(self, place: int) -> None:
        """The last row takes this one's place."""
        self._rows -= 1
        if place < self._rows:
            for buffer in self._buffers:
                buffer[place, :, self._begin : self._end] = buffer[self._rows, :, self._begin : self._end]
        self._show()

    def cut(self, slots: int) -> None:
        """Keep the last slots."""
        self._begin = self._end - slots
        self._show()

    def _move(self, rows: int, slots: int, free: int) -> None:
        """Into larger buffers: the last of `slots` is the newest one. Zeros elsewhere, since a masked NaN would still spoil a sum."""
        held = self._end - self._begin
        for place, buffer in enumerate(self._buffers):
            larger = buffer.new_zeros(rows, buffer.shape[1], slots + free, buffer.shape[3])
            larger[: self._rows, :, slots - held : slots] = buffer[: self._rows, :, self._begin : self._end]
            self._buffers[place] = larger
        self._begin, self._end = slots - held, slots

    def _show(self) -> None:
        self.keys, self.values = (buffer[: self._rows, :, self._begin : self._end] for buffer in self._buffers)


class Sliding(DynamicSlidingWindowLayer):  # type: ignore[misc]
    """A layer that sees a window of the newest slots, and counts those that it saw."""

    def join(self, other: DynamicSlidingWindowLayer) -> None:
        """Rows of another layer take places behind the last, ends aligned."""
        if not self.is_initialized:
            self.lazy_initialization(other.keys, other.values)
            self.keys, self.values = other.keys, other.values
        else:
            slots = max(self.keys.shape[2], other.keys.shape[2])
            self.keys = torch.cat([widened(self.keys, slots, 2), widened(other.keys, slots, 2)])
            self.values = torch.cat([widened(self.values, slots, 2), widened(other.values, slots, 2)])
        self.cumulative_length = max(self.cumulative_length, other.cumulative_length)

    def remove(self, place: int) -> None:
        """The last row takes this one's place."""
        self.batch_select_indices(torch.tensor(without(range(len(self.keys)), [place]), device=self.keys.device))

    def cut(self, slots: int) -> None:
        """Keep the last slots."""
        self.keys, self.values = self.keys[:, :, -slots:], self.values[:, :, -slots:]
        self.cumulative_length = slots


def cache(config: Any) -> DynamicCache:
    """An empty cache of such layers for a model."""
    found = DynamicCache(config=config)
    found.layers = [Sliding(layer.sliding_window) if layer.is_sliding else Full() for layer in found.layers]
    return found


def without(rows: Sequence[Any], places: Sequence[int]) -> list[Any]:
    """`rows` where those at `places`, the last place first, were removed as layers remove them."""
    left = list(rows)
    for place in places:
        last = left.pop()
        if place < len(left):
            left[place] = last
    return left


def widened(tensor: Tensor, slots: int, dim: int = 1) -> Tensor:
    """Zeros on the left of `dim`, up to this many slots."""
    after = tensor.dim() - 1 - dim
    return F.pad(tensor, (0, 0) * after + (slots - tensor.shape[dim], 0))
