"""LoRA and what differs from it in a word.

LoRA (Hu et al. 2021, arXiv:2106.09685):        y = W x + (alpha / r) B A x, W frozen; A starts random, B zero.
QLoRA (Dettmers et al. 2023, arXiv:2305.14314): the same on a W held in 4-bit NormalFloat with double quantisation.
LoRA+ (Hayou et al. 2024, arXiv:2402.12354):    the same, and B learns `loraplus_lr_ratio` times faster than A.
LoRA-FA (Zhang et al. 2023, arXiv:2308.03303):  the same with A frozen, and plain AdamW on B. Here A comes from the seed and the layer's
name, so all adapters of one seed share it, and sum_i w_i B_i A = (sum_i w_i B_i) A: merges are exact at the same rank.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from core.adapter import Factor
from core.train.low_rank import add_low_rank
from core.train.method import Method, Segment, Site, generator


class Lora(Method):
    """Trains A [in, r] and B [r, out] of every target layer."""

    def start(self, layer: str, module: Any) -> dict[str, Tensor]:
        """A uniform in +-1/sqrt(in), B zero (PEFT's start), so the delta begins at 0."""
        return {"A": self.random_A(layer, module), "B": torch.zeros(self.config.r, module.out_features)}

    def random_A(self, layer: str, module: Any) -> Tensor:
        """A [in, r] from the seed and the layer's name."""
        start = torch.empty(module.in_features, self.config.r).uniform_(-1, 1, generator=generator(self.config.seed, layer))
        return start / math.sqrt(module.in_features)

    def forward(self, site: Site, x: Tensor, y: Tensor, segments: Sequence[Segment]) -> Tensor:
        """y + scale * x A B"""
        A = [site.frozen["A"]] if "A" in site.frozen else [site.own[segment.adapter]["A"] for segment in segments]
        B = [site.own[segment.adapter]["B"] for segment in segments]
        return add_low_rank(y, x, A, B, [segment.tokens for segment in segments], self.scale)

    def factors(self, site: Site, adapter: int) -> Factor:
        """The adapter itself."""
        tensors = site.frozen | site.own[adapter]
        return factor(tensors["A"], tensors["B"], self.scale)


class QLora(Lora):
    """LoRA on a 4-bit base."""

    quantization = "nf4"


class LoraPlus(Lora):
    """LoRA whose B has a learning rate of its own."""

    def rate(self, tensor: str) -> float:
        """loraplus_lr_ratio for B, 1 for A."""
        return self.config.loraplus_lr_ratio if tensor == "B" else 1.0


class LoraFA(Lora):
    """LoRA with one frozen A for all adapters."""

    def frozen(self, layer: str, module: Any) -> dict[str, Tensor]:
        """The A that all adapters share."""
        return {"A": self.random_A(layer, module)}

    def start(self, layer: str, module: Any) -> dict[str, Tensor]:
        """B zero."""
        return {"B": torch.zeros(self.config.r, module.out_features)}


def factor(A: Tensor, B: Tensor, scale: float) -> Factor:
    """A [in, r] and B [r, out] as PEFT keeps them: [r, in] and [out, r], fp32, on the CPU."""
    return Factor(A.detach().T.float().cpu().contiguous(), B.detach().T.float().cpu().contiguous(), scale)
