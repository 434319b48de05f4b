"""Answers side by side, one token a step; rows enter and leave between two steps (Yu et al. 2022, Orca: iteration-level scheduling).

Rows are padded on the left: the newest token of each stands in the last slot. A row that enters has its prompt read apart, and its keys
and values are then laid beside the others'. What the same reader has read before, or what several entering rows of it begin with, is read
once (core/models/prefixes.py).
"""

from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from core.models import slots
from core.models.load import BaseModel
from core.models.prefixes import LEAST, Prefix, Prefixes, common
from core.models.slots import widened

Mixing = Callable[[Sequence[Any]], AbstractContextManager[Any]]
"""The context in which some rows are computed."""


class Decoding:
    """The rows that a model answers at the moment. Who uses it chooses the tokens, from the logits that it gives."""

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self.rows: list[Any] = []
        """As the caller names them, in the order of the logits."""
        self._cache: DynamicCache
        self._mask: Tensor
        """[rows, slots]: 1 where a row has a token."""
        self._prefixes = Prefixes()
        self._slides = any(layer.is_sliding for layer in DynamicCache(config=base.model.config).layers)

    @torch.no_grad()
    def enter(
        self, rows: Sequence[Hashable], prompts: Sequence[list[int]], mixing: Mixing, kinds: Sequence[Hashable] | None = None
    ) -> Tensor:
        """Read the prompts of new rows. Returns the logits of their first tokens, [new rows, vocabulary], fp32.

        `kinds`: who reads each row; rows of one kind have the same mixing, and share their prompts' beginnings. None: nothing is shared.
        """
        known: list[Prefix | None] = [None] * len(rows)
        if kinds is not None and not self._slides:
            self._read_heads(rows, prompts, mixing, kinds)
            known = [self._prefixes.longest(kind, prompt) for kind, prompt in zip(kinds, prompts, strict=True)]
        logits, cache, mask = self._read(prompts, known, mixing(rows))
        if kinds is not None and not self._slides:
            self._keep(kinds, prompts, cache)
        if not self.rows:
            self._cache, self._mask = slots.cache(self.base.model.config), mask[:0]
        for layer, new in zip(self._cache.layers, cache.layers, strict=True):
            layer.join(new)
        widest = max(self._mask.shape[1], mask.shape[1])
        self._mask = torch.cat([widened(self._mask, widest), widened(mask, widest)])
        self.rows += rows
        return logits

    @torch.no_grad()
    def step(self, tokens: Sequence[int], mixing: AbstractContextManager[Any]) -> Tensor:
        """Go on with each row's newest token, in the order of `rows`. Returns the logits of the next ones, [rows, vocabulary], fp32."""
        ids = torch.tensor(tokens, device=self.base.device)[:, None]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], 1)
        return self._forward(ids, self._mask, self._cache, mixing)

    def leave(self, rows: Collection[Hashable]) -> None:
        """Let go of these rows, and of the slots that only they had. The last rows take their places."""
        places = [place for place, row in reversed(list(enumerate(self.rows))) if row in rows]
        if not places:
            return
        order = slots.without(range(len(self.rows)), places)
        self.rows = [self.rows[place] for place in order]
        if not order:
            del self._cache, self._mask
            return
        self._mask = self._mask[torch.tensor(order, device=self.base.device)]
        needed = int(self._mask.sum(1).max())
        self._mask = self._mask[:, -needed:]
        for layer in self._cache.layers:
            for place in places:
                layer.remove(place)
            layer.cut(needed)

    def _read_heads(self, rows: Sequence[Hashable], prompts: Sequence[list[int]], mixing: Mixing, kinds: Sequence[Hashable]) -> None:
        """Read once what all entering rows of a kind begin with, where that is not known yet."""
        heads: dict[Hashable, tuple[Hashable, list[int]]] = {}
        for kind in dict.fromkeys(kinds):
            places = [place for place, each in enumerate(kinds) if each == kind]
            first = prompts[places[0]]
            shared = min((common(first, prompts[place]) for place in places[1:]), default=0)
            known = self._prefixes.longest(kind, first)
            if shared - (known.tokens if known else 0) >= LEAST:
                heads[kind] = rows[places[0]], first[:shared]
        if heads:
            readers, texts = zip(*heads.values(), strict=True)
            known_too = [self._prefixes.longest(kind, text) for kind, text in zip(heads, texts, strict=True)]
            _, cache, _ = self._read(texts, known_too, mixing(readers))
            self._keep(list(heads), texts, cache)

    def _read(
        self, prompts: Sequence[list[int]], known: Sequence[Prefix | None], mixing: AbstractContextManager[Any]
    ) -> tuple[Tensor, DynamicCache, Tensor]:
        """Logits, keys and values, and mask of prompts whose beginnings may be known."""
        read = [prefix.tokens if prefix else 0 for prefix in known]
        ids, mask = _left_padded(self.base, [prompt[begun:] for prompt, begun in zip(prompts, read, strict=True)])
        cache = DynamicCache(config=self.base.model.config)
        if not any(read):
            return self._forward(ids, mask, cache, mixing), cache, mask
        for layer, (keys, values) in enumerate(_side_by_side(known)):
            cache.update(keys, values, layer)
        most = max(read)
        places = torch.arange(most, device=mask.device) >= most - torch.tensor(read, device=mask.device)[:, None]
        mask = torch.cat([places.to(mask.dtype), mask], 1)
        logits = self._forward(ids, mask, cache, mixing)
        return logits, cache, _closed_up(cache, mask)

    def _keep(self, kinds: Sequence[Hashable], prompts: Sequence[list[int]], cache: DynamicCache) -> None:
        """Remember what was read; tokens stand in each row's last slots."""
        for row, (kind, prompt) in enumerate(zip(kinds, prompts, strict=True)):
            layers = [(layer.keys[row, :, -len(prompt) :], layer.values[row, :, -len(prompt) :]) for layer in cache.layers]
            self._prefixes.keep(kind, prompt, layers)

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


def _side_by_side(known: Sequence[Prefix | None]) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of the prefixes layer by layer, [rows, heads, slots, dim], ends aligned; zeros where a row has none."""
    most = max(prefix.tokens for prefix in known if prefix)
    first = next(prefix for prefix in known if prefix)
    found = []
    for layer, (like, _) in enumerate(first.layers):
        nothing = like.new_zeros(like.shape[0], 0, like.shape[2])
        both = [(prefix.layers[layer], prefix.tokens) if prefix else ((nothing, nothing), 0) for prefix in known]
        keys, values = (torch.stack([widened(pair[part][:, :tokens], most, 1) for pair, tokens in both]) for part in (0, 1))
        found.append((keys, values))
    return found


def _closed_up(cache: DynamicCache, mask: Tensor) -> Tensor:
    """Move each row's slots to the end, over empty ones between them. Returns the mask, as wide as the longest row."""
    places = mask.argsort(dim=1, stable=True)[:, -int(mask.sum(1).max()) :]
    for layer in cache.layers:
        layer.keys, layer.values = (
            each.gather(2, places[:, None, :, None].expand(-1, each.shape[1], -1, each.shape[3])) for each in (layer.keys, layer.values)
        )
    return mask.gather(1, places)
