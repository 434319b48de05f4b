"""Rows laid end to end, so that nothing a model multiplies is padding.

All rows of a batch form one sequence of tokens; attention alone keeps them apart (`core/models/packed.py`). Rows of one adapter that
begin with the same tokens (the chat template, the system prompt) share them: under causal attention these tokens have the same
states in every row, so they are computed once, and their gradients add up by themselves.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.data.prompt import Encoded

BUCKET = 0.8
"""Rows attend side by side while the shortest has at least this share of the longest's tokens."""


@dataclass(frozen=True)
class Layout:
    """Where each row's tokens stand in the sequence."""

    buckets: tuple[Tensor, ...]
    """[rows, width] each: places of the rows' tokens in the sequence; what pads a row on its right is place 0."""
    restore: Tensor
    """[tokens]: for each token of the sequence its place in the buckets, flattened and laid end to end."""


@dataclass(frozen=True)
class Packed:
    """A batch, ready for a model. Padded batches (layout None) hold [rows, width] tokens instead of [1, tokens]."""

    ids: Tensor
    """[1, tokens]"""
    positions: Tensor | None
    """[1, tokens]: each token's place in its row."""
    layout: Layout | None
    answers: Tensor
    """[answer tokens]: places in the flattened ids whose output predicts an answer token."""
    targets: Tensor
    """[answer tokens]: the tokens to predict."""
    rows: Tensor
    """[answer tokens]: the row of each."""
    segments: tuple[tuple[int, int], ...]
    """(owner, tokens) in the order of the flattened ids."""
    row_tokens: tuple[int, ...]
    """Tokens of each row in the flattened ids."""


def pack(examples: Sequence[Encoded], owners: Sequence[int], device: torch.device, share_prefix: bool = True) -> Packed:
    """Lay rows end to end. Rows of one owner must stand together; `share_prefix`: they share the tokens they all begin with."""
    ids, positions, restore, answers, targets, rows, places, segments = [], [], [], [], [], [], [], []
    for owner, members in _together(owners):
        prefix = _common([examples[row] for row in members]) if share_prefix and len(members) > 1 else []
        begin = len(ids)
        ids += prefix
        positions += range(len(prefix))
        restore += [(members[0], place) for place in range(len(prefix))]
        for row in members:
            example, start = examples[row], len(ids)
            own = (example.prompt + example.answer)[len(prefix) :]
            ids += own
            positions += range(len(prefix), len(example))
            restore += [(row, place) for place in range(len(prefix), len(example))]
            places.append([*range(begin, begin + len(prefix)), *range(start, start + len(own))])
            first = start + len(example.prompt) - len(prefix) - 1
            answers += range(first, first + len(example.answer))
            targets += example.answer
            rows += [row] * len(example.answer)
        segments.append((owner, len(ids) - begin))
    layout = _layout(places, restore, device)
    tensors = [torch.tensor(values, device=device) for values in ([ids], [positions], answers, targets, rows)]
    return Packed(tensors[0], tensors[1], layout, *tensors[2:], tuple(segments), tuple(len(place) for place in places))


def pad(examples: Sequence[Encoded], owners: Sequence[int], pad_token_id: int, device: torch.device) -> Packed:
    """The same batch padded on the right, for architectures that can't be packed. No mask is needed under causal attention."""
    width = max(len(example) for example in examples)
    ids = torch.full((len(examples), width), pad_token_id)
    answers, targets, rows = [], [], []
    for row, example in enumerate(examples):
        ids[row, : len(example)] = torch.tensor(example.prompt + example.answer)
        first = row * width + len(example.prompt) - 1
        answers += range(first, first + len(example.answer))
        targets += example.answer
        rows += [row] * len(example.answer)
    segments = tuple((owner, width * len(members)) for owner, members in _together(owners))
    tensors = [torch.tensor(values, device=device) for values in (answers, targets, rows)]
    return Packed(ids.to(device), None, None, *tensors, segments, (width,) * len(examples))


def micro_batches(lengths: Sequence[int], tokens: int) -> list[range]:
    """Consecutive rows of at most `tokens` together, in as few batches as that allows, of even size; a longer row stands alone."""
    fewest, limit = _fill(lengths, tokens), tokens
    while (smaller := int(limit * 0.95)) < limit and len(even := _fill(lengths, smaller)) == len(fewest):
        fewest, limit = even, smaller
    return fewest


def _fill(lengths: Sequence[int], limit: int) -> list[range]:
    batches, start, held = [], 0, 0
    for row, length in enumerate(lengths):
        if row > start and held + length > limit:
            batches.append(range(start, row))
            start, held = row, 0
        held += length
    return [*batches, range(start, len(lengths))] if lengths else []


def _together(owners: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Owners in order, with the rows of each."""
    start = 0
    for row in range(1, len(owners) + 1):
        if row == len(owners) or owners[row] != owners[start]:
            yield owners[start], list(range(start, row))
            start = row


def _common(examples: Sequence[Encoded]) -> list[int]:
    """The tokens that all prompts begin with, but for each prompt's last: its output predicts an answer, so it is each row's own."""
    return list(os.path.commonprefix([example.prompt[:-1] for example in examples]))


def _layout(places: Sequence[Sequence[int]], restore: Sequence[tuple[int, int]], device: torch.device) -> Layout:
    buckets: list[list[int]] = []
    for row in sorted(range(len(places)), key=lambda row: -len(places[row])):
        if not buckets or len(places[row]) < BUCKET * len(places[buckets[-1][0]]):
            buckets.append([])
        buckets[-1].append(row)
    tensors, offsets, begin = [], {}, 0
    for bucket in buckets:
        width = len(places[bucket[0]])
        tensors.append(torch.tensor([[*places[row], *[0] * (width - len(places[row]))] for row in bucket], device=device))
        for place, row in enumerate(bucket):
            offsets[row] = begin + place * width
        begin += len(bucket) * width
    return Layout(tuple(tensors), torch.tensor([offsets[row] + place for row, place in restore], device=device))
