"""What is in memory to compute with: the base model, a bank of the adapters in use, and the rows under way."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from core.adapter import Adapter
from core.bank import AdapterBank, Router, check_fit
from core.config import ServeConfig
from core.errors import UserError
from core.models import load
from core.models.decoding import Decoding
from core.models.generate import end_tokens
from core.models.spelling import Spelling
from core.serve.mixes import Mix, Part

KEPT_RANK = 192
"""Adapters that no row needs at the moment stay in the bank, the most recently used first, up to this rank together with the others."""


class Loaded:
    """A base model whose bank follows what is asked for."""

    def __init__(self, config: ServeConfig) -> None:
        self.base = load.load(config.base_model, quantization=config.quantization, precision=config.precision, device=config.device)
        self.ends = end_tokens(self.base)
        self.spelling = Spelling(self.base.tokenizer)
        self.decoding = Decoding(self.base)
        self._parts: dict[str, Part] = {}
        """By content hash, in the bank's order."""
        self._bank: AdapterBank | None = None
        self._used: list[str] = []
        """Content hashes, the most recently used last."""
        self._misfits: dict[str, str] = {}
        """By content hash, why an adapter does not fit the base model; empty: it does."""
        self._strengths: dict[str, float] = {}
        """By content hash, the largest number that the bank would hold for an adapter."""

    @property
    def ranks(self) -> dict[str, int]:
        """Of the adapters in the bank, by name."""
        return {part.adapter.name: part.adapter.rank for part in list(self._parts.values())}

    def misfit(self, mix: Mix) -> str:
        """Why a mix can't stand on this base model, in a sentence; empty: it can."""
        for part in mix.parts:
            if part.digest not in self._misfits:
                self._misfits[part.digest] = _misfit(self.base, part)
                self._strengths[part.digest] = _strength(part.adapter)
        return next((why for part in mix.parts if (why := self._misfits[part.digest] or self._overflow(part))), "")

    def _overflow(self, part: Part) -> str:
        """Why the model's numbers can't hold an adapter's share; empty: they can. 0 times infinity would reach rows of other mixes too."""
        largest = torch.finfo(self.base.dtype).max
        if abs(part.weight) * max(1.0, self._strengths[part.digest]) <= largest:
            return ""
        number = str(self.base.dtype).removeprefix("torch.")
        return (
            f"The numbers of '{part.adapter.name}' with weight {part.weight:g} are beyond what {number} holds ({largest:.2g}), so it can't "
            "answer. Lower the weights, or ties_lambda."
        )

    def mixing(self, mixes: Sequence[Mix]) -> AbstractContextManager[None]:
        """For a batch whose rows have these mixes: the bank's weights, [rows, K]. Adapters that the bank lacks join it."""
        bank = self._ready(mixes)
        if bank is None:
            return nullcontext()
        weights = self.weights(mixes)
        return bank.mixing(self._router(mixes, weights) if any(mix.route for mix in mixes) else weights)

    def gated(self, mix: Mix, gates: torch.Tensor) -> AbstractContextManager[None]:
        """For rows of one mix, with each part's weight times its gate, [parts]; gradients flow to the gates."""
        bank = self._ready([mix])
        assert bank, "a mix without parts has no gates"
        weights = self.weights([mix])
        shares = self._router([mix], weights)
        columns = torch.tensor([list(self._parts).index(part.digest) for part in mix.parts], device=gates.device)
        factors = torch.zeros(len(self._parts), device=gates.device).index_put((columns,), gates)
        return bank.mixing(lambda layer, x: shares(layer, x) * factors)

    def _ready(self, mixes: Sequence[Mix]) -> AdapterBank | None:
        """The bank, with all adapters of these mixes in it; None where they have none."""
        needed = {part.digest: part for mix in mixes for part in mix.parts}
        if not needed:
            return None
        if not needed.keys() <= self._parts.keys():
            self._fill(needed)
        self._used = [digest for digest in self._used if digest not in needed] + list(needed)
        return self._bank

    def weights(self, mixes: Sequence[Mix]) -> torch.Tensor:
        """[rows, K] in the order of the bank, where it is."""
        places = {digest: place for place, digest in enumerate(self._parts)}
        weights = [[0.0] * len(places) for _ in mixes]
        for row, mix in zip(weights, mixes, strict=True):
            for part in mix.parts:
                row[places[part.digest]] = part.weight
        return torch.tensor(weights, device=self.base.device, dtype=self.base.dtype)

    def _router(self, mixes: Sequence[Mix], weights: torch.Tensor) -> Router:
        """`weights` for most rows, and for rows of a route by token what it gives each token of each layer."""
        places = {digest: place for place, digest in enumerate(self._parts)}
        routed = [
            (row, mix.route, torch.tensor([places[part.digest] for part in mix.parts], device=weights.device))
            for row, mix in enumerate(mixes)
            if mix.route
        ]

        def shares(layer: str, x: torch.Tensor) -> torch.Tensor:
            found = weights[:, None].repeat(1, x.shape[1], 1)
            for row, route, columns in routed:
                found[row].index_add_(1, columns, route.token_weights(layer, x[row : row + 1])[0].to(found.dtype))
            return found

        return shares

    def _fill(self, new: dict[str, Part]) -> None:
        """Another bank: of what the rows under way need, what is new, and what was used lately."""
        parts = {part.digest: part for row in self.decoding.rows for part in row.mix.parts} | new
        rank = sum(part.adapter.rank for part in parts.values())
        for digest in reversed(self._used):
            rank += self._parts[digest].adapter.rank if digest in self._parts and digest not in parts else 0
            if rank > KEPT_RANK:
                break
            if digest in self._parts:
                parts.setdefault(digest, self._parts[digest])
        bank = AdapterBank.load(self.base.model, [part.adapter for part in parts.values()])
        if self._bank:
            self._bank.detach()
        self._bank, self._parts = bank, parts


def _strength(adapter: Adapter) -> float:
    """Infinite where a value is NaN."""
    sizes = [float(value) for each in adapter.factors.values() for value in (each.A.abs().max(), (each.B * each.scale).abs().max())]
    return max(size if math.isfinite(size) else math.inf for size in sizes)


def _misfit(base: load.BaseModel, part: Part) -> str:
    try:
        check_fit(base.model, part.adapter)
    except UserError as error:
        return str(error)
    return ""
