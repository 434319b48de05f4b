"""Answers side by side, one token a step; rows enter and leave between two steps (Yu et al. 2022, Orca: iteration-level scheduling).

Rows are padded on the left: the newest token of each stands in the last slot. A row that enters has its prompt read apart, and its keys
and values are then laid beside the others'.
"""

from collections.abc import Collection, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache

from core.models.load import BaseModel


class Decoding:
    """The rows that a model answers at the moment. Who uses it chooses the tokens, from the logits that it gives."""

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self.rows: list[Any] = []
        """As the caller names them, in the order of the logits."""
        self._cache: DynamicCache
        self._mask: Tensor
        """[rows, slots]: 1 where a row has a token."""

    @torch.no_grad()
    def enter(self, rows: Sequence[Hashable], prompts: Sequence[list[int]], mixing: AbstractContextManager[Any]) -> Tensor:
        """Read the prompts of new rows, within `mixing`. Returns the logits of their first tokens, [new rows, vocabulary], fp32."""
        ids, mask = _left_padded(self.base, prompts)
        cache = DynamicCache(config=self.base.model.config)
        logits = self._forward(ids, mask, cache, mixing)
        if self.rows:
            _lay_beside(self._cache, cache)
            slots = max(self._mask.shape[1], mask.shape[1])
            self._mask = torch.cat([_widened(self._mask, slots), _widened(mask, slots)])
        else:
            self._cache, self._mask = cache, mask
        self.rows += rows
        return logits

    @torch.no_grad()
    def step(self, tokens: Sequence[int], mixing: AbstractContextManager[Any]) -> Tensor:
        """Go on with each row's newest token, in the order of `rows`. Returns the logits of the next ones, [rows, vocabulary], fp32."""
        ids = torch.tensor(tokens, device=self.base.device)[:, None]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], 1)
        return self._forward(ids, self._mask, self._cache, mixing)

    def leave(self, rows: Collection[Hashable]) -> None:
        """Let go of these rows, and of the slots that only they had."""
        kept = [place for place, row in enumerate(self.rows) if row not in rows]
        if len(kept) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in kept]
        if not kept:
            del self._cache, self._mask
            return
        places = torch.tensor(kept, device=self.base.device)
        self._mask = self._mask[places]
        slots = int(self._mask.sum(1).max())
        self._mask = self._mask[:, -slots:]
        self._cache.batch_select_indices(places)
        for layer in self._cache.layers:
            _cut(layer, slots)

    def _forward(self, ids: Tensor, mask: Tensor, cache: DynamicCache, mixing: AbstractContextManager[Any]) -> Tensor:
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with mixing:
            out = self.base.model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1)
        logits: Tensor = out.logits[:, -1].float()
        return logits


def _left_padded(base: BaseModel, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """ids [rows, slots] and mask [rows, slots]."""
    longest = max(map(len, prompts))
    ids = [[base.tokenizer.pad_token_id] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=base.device), torch.tensor(mask, device=base.device)


def _widened(tensor: Tensor, slots: int, dim: int = 1) -> Tensor:
    """Zeros on the left of `dim`, up to this many slots."""
    after = tensor.dim() - 1 - dim
    return F.pad(tensor, (0, 0) * after + (slots - tensor.shape[dim], 0))


def _lay_beside(cache: DynamicCache, new: DynamicCache) -> None:
    """Append the rows of `new` to `cache`, ends aligned. Layers with a sliding window hold fewer slots, and count those they saw."""
    for mine, other in zip(cache.layers, new.layers, strict=True):
        slots = max(mine.keys.shape[2], other.keys.shape[2])
        mine.keys = torch.cat([_widened(mine.keys, slots, 2), _widened(other.keys, slots, 2)])
        mine.values = torch.cat([_widened(mine.values, slots, 2), _widened(other.values, slots, 2)])
        if mine.is_sliding:
            mine.cumulative_length = max(mine.cumulative_length, other.cumulative_length)


def _cut(layer: Any, slots: int) -> None:
    """Keep a layer's last slots."""
    layer.keys, layer.values = layer.keys[:, :, -slots:], layer.values[:, :, -slots:]
    if layer.is_sliding:
        layer.cumulative_length = slots
