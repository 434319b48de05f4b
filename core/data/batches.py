"""Batches of rows of similar length, so that little of a batch is padding; and the order in which an adapter sees its rows."""

from array import array
from collections.abc import Sequence

import torch


def by_length(lengths: Sequence[int], tokens_per_batch: int) -> list[list[int]]:
    """Indices grouped by length, longest first, so that rows x longest stays within the budget; a longer row stands alone."""
    batches: list[list[int]] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not batches or (len(batches[-1]) + 1) * width > tokens_per_batch:
            batches.append([])
            width = lengths[index]
        batches[-1].append(index)
    return batches


def row_order(rows: int, epoch: int, seed: int) -> "array[int]":
    """The order of an adapter's rows in one epoch: it depends on the seed, the epoch and the number of rows alone."""
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    return array("q", torch.randperm(rows, generator=generator).numpy().tobytes())
