"""The losses of mixes on the same rows, without generating: a linear mix is a row of weights of one bank, any other a bank of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from core.adapter import Adapter
from core.bank import AdapterBank
from core.config import MergeConfig
from core.data.prompt import Encoded
from core.merge.combine import combine
from core.merge.parents import Parent
from core.models.load import BaseModel
from core.models.loss import loss_slope, row_losses

TOKENS = {"cpu": 2048, "mps": 8192, "cuda": 32768}
"""Tokens of one batch; mixes stand side by side in it where the rows of one don't fill it."""

Progress = Callable[[float], None]
"""Hears how many mixes are done, parts of one included."""


@dataclass(frozen=True)
class Mixes:
    """Adapters on a base model, and the rows that every mix of them is measured on."""

    base: BaseModel
    parents: Sequence[Parent]
    examples: Sequence[Encoded]

    @property
    def side_by_side(self) -> int:
        """How many mixes fit into one batch; at least 1."""
        return max(1, TOKENS[self.base.device.type] // sum(map(len, self.examples)))

    def losses(self, merges: Sequence[MergeConfig], progress: Progress = lambda done: None) -> list[list[float]]:
        """Total loss of each row's answer, in nats, under each merge. The merges are of one strategy; all weights 0 is the base model."""
        if merges[0].is_weighted_sum:
            return self._linear([merge.weights for merge in merges], progress)
        found = []
        for done, merge in enumerate(merges):
            found.append(self._merged(merge, lambda part, done=done: progress(done + part)))  # type: ignore[misc]
        return found

    def slope(
        self, weights: Sequence[float], row_weights: Sequence[float], progress: Progress = lambda done: None
    ) -> tuple[list[float], list[float]]:
        """Of the exact weighted sum: each row's total loss in nats, and the gradient, [K], of the sum of row_weights x losses."""
        mix, rows = torch.tensor(weights, device=self.base.device, requires_grad=True), len(self.examples)
        losses, slope = loss_slope(
            self.base, self.examples, row_weights, lambda _: self._bank.mixing(mix), mix, progress=lambda done: progress(done / rows)
        )
        return losses, slope.tolist()

    @cached_property
    def _bank(self) -> AdapterBank:
        adapters = [replace(parent.adapter, name=str(place)) for place, parent in enumerate(self.parents)]
        return AdapterBank.load(self.base.model, adapters)

    def _linear(self, weights: Sequence[Sequence[float]], progress: Progress) -> list[list[float]]:
        rows = len(self.examples)
        each = torch.tensor(weights, device=self.base.device).repeat_interleave(rows, 0)
        losses = self._rows(self._bank, each, progress)
        return [losses[start : start + rows] for start in range(0, len(losses), rows)]

    def _merged(self, merge: MergeConfig, progress: Progress) -> list[float]:
        """A merge as a temporary adapter."""
        weighted = [replace(parent, weight=weight) for parent, weight in zip(self.parents, merge.weights, strict=True)]
        factors = {layer: each.factor for layer, each in combine(weighted, merge).items()} if any(merge.weights) else {}
        bank = AdapterBank.load(self.base.model, [Adapter("mix", factors, "")])
        try:
            return self._rows(bank, torch.ones(len(self.examples), 1, device=self.base.device), progress)
        finally:
            bank.detach()

    def _rows(self, bank: AdapterBank, weights: Tensor, progress: Progress) -> list[float]:
        """Losses of the examples, as often as `weights`, [n x examples, K], asks for them."""
        rows = len(self.examples)
        examples = [*self.examples] * (len(weights) // rows)
        tokens = TOKENS[self.base.device.type]
        return row_losses(self.base, examples, lambda i: bank.mixing(weights[i]), tokens, lambda done: progress(done / rows))
