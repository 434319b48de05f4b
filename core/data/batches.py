"""Batches of rows of similar length, so that little of a batch is padding; and the order in which an adapter sees its rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.data.prompt import Encoded

IGNORED = -100
"""Target of a position that is not supervised."""


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right. Under causal attention what stands right of a row never reaches it, so no mask is needed."""

    ids: Tensor
    """[rows, tokens]"""
    targets: Tensor
    """[rows, tokens]: the token that follows, where it belongs to the answer; else IGNORED."""


def collate(examples: Sequence[Encoded], pad_token_id: int, device: torch.device) -> Batch:
    """Pad rows to the longest. The last token of a row is never an input whose output matters."""
    width = max(len(example) for example in examples)
    ids = torch.full((len(examples), width), pad_token_id)
    targets = torch.full((len(examples), width), IGNORED)
    for row, example in enumerate(examples):
        ids[row, : len(example)] = torch.tensor(example.prompt + example.answer)
        begin = len(example.prompt) - 1
        targets[row, begin : begin + len(example.answer)] = torch.tensor(example.answer)
    return Batch(ids.to(device), targets.to(device))


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


def row_order(rows: int, epoch: int, seed: int) -> list[int]:
    """The order of an adapter's rows in one epoch: it depends on the seed, the epoch and the number of rows alone."""
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    return torch.randperm(rows, generator=generator).tolist()
