"""How fast training is, held against what the machine can do: the share of its own matrix-product peak.

    share = training_flops / seconds / matrix_peak

A training step of an adapter takes 4 FLOP per weight of the frozen layers and token: 2 forward, 2 for the gradient of the layer's
input (Kaplan et al. 2020, arXiv:2001.08361, section 2.1, less the weights' own gradient, which a frozen layer does not need).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

SIZES = {"cpu": (1024, 2048, 2048), "mps": (4096, 4096, 4096), "cuda": (8192, 8192, 8192)}
"""Rows, inputs and outputs of the product that is timed."""
REPEATS = 5


@dataclass(frozen=True)
class Speed:
    """Of optimiser steps, in one process or in several together."""

    tokens_per_second: float
    flops_per_second: float
    matrix_peak: float
    """FLOP/s of a large matrix product, on as many machines as took part."""
    dtype: str

    def told(self, say: Callable[[str], None], *, full: bool) -> dict[str, float]:
        """The run's outputs about it, and a line for the person; nothing where no step was taken."""
        if not self.tokens_per_second:
            return {}
        share = self.flops_per_second / self.matrix_peak
        say(
            f"Speed: {self.tokens_per_second:,.0f} tokens/s, {share:.0%} of this machine's matrix-product peak "
            f"({self.matrix_peak / 1e9:,.0f} GFLOP/s in {self.dtype}), counted {6 if full else 4} FLOP per weight and "
            "token, the output layer on answer tokens only."
        )
        return {"tokens_per_second": self.tokens_per_second, "matrix_peak_share": share}


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large product x W^T on this machine, in this precision, as it stands now: the median of the three fastest of five."""
    rows, inputs, outputs = SIZES[device.type]
    x = torch.randn(rows, inputs, device=device, dtype=dtype)
    weight = torch.randn(outputs, inputs, device=device, dtype=dtype)
    _seconds(x, weight)  # the first product sets things up
    median = sorted(_seconds(x, weight) for _ in range(REPEATS))[1]
    return 2 * rows * inputs * outputs / median


def training_flops(model: Any, tokens: int, answer_tokens: int, *, full: bool = False) -> float:
    """FLOP that training on `tokens` takes at the least, of which `answer_tokens` go through the output layer.

    Counted: the products with the model's linear layers, 4 FLOP per weight and token; 6 where all weights train (`full`). Left out:
    the adapters' own products, attention's, the embedding (a look-up), and whatever is computed twice or for padding. A tied output
    layer counts once, as output layer. A layer held in 4 bit counts as the product it stands for.
    """
    per_weight = 6 if full else 4
    head = model.get_output_embeddings()
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not head]
    body = sum(module.in_features * module.out_features for module in linear)
    return float(per_weight * (body * tokens + head.in_features * head.out_features * answer_tokens))


def _seconds(x: torch.Tensor, weight: torch.Tensor) -> float:
    """Of one product."""
    _finish(x.device)
    begun = time.perf_counter()
    F.linear(x, weight)
    _finish(x.device)
    return time.perf_counter() - begun


def _finish(device: torch.device) -> None:
    """Wait until an accelerator has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
