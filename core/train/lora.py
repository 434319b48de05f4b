"""LoRA and QLoRA: which tensors train, and how an adapter leaves the bank.

LoRA (Hu et al. 2021, arXiv:2106.09685): W x + (alpha / r) B A x, with W frozen. QLoRA (Dettmers et al. 2023, arXiv:2305.14314):
the same on a W held in 4-bit NormalFloat with double quantisation.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from core.adapter import Factor
from core.bank import AdapterBank
from core.config import TrainConfig


class Lora:
    """Trains A and B of every target layer."""

    quantization: str | None = None
    """How the method wants the base model; None leaves it to the config."""

    def bank(self, model: Any, names: Sequence[str], config: TrainConfig) -> AdapterBank:
        """A bank whose deltas are all 0."""
        return AdapterBank.new(model, names, rank=config.r, alpha=config.lora_alpha, target_modules=config.target_modules, seed=config.seed)

    def trainable(self, bank: AdapterBank) -> dict[str, Tensor]:
        """The stacked tensors that train, [K, ...] each, by name."""
        factors = {"A": {k: s.A for k, s in bank.stacks.items()}, "B": {k: s.B for k, s in bank.stacks.items()}}
        return {f"{layer}.{which}": tensor for which, layers in factors.items() for layer, tensor in layers.items()}

    def export(self, bank: AdapterBank, index: int) -> dict[str, Factor]:
        """One adapter as plain LoRA factors."""
        return bank.factors(index)


class QLora(Lora):
    """LoRA on a 4-bit base."""

    quantization = "nf4"
