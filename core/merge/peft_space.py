"""Merges in factor space: what PEFT's `LoraModel.add_weighted_adapter` makes, to the bit (peft 0.21), for those who must reproduce it.

PEFT combines A and B apart, with sqrt(|w s|) on both and the sign of w s on A. The product of the two has cross terms that the weighted
sum of the deltas has not: another delta, and only approximately the one that was meant. Its peculiarities are kept. Adapters of weight 0
vote and count; a single adapter is merged as linear; the scaling is 1, whatever the strategy; where the first adapter has rsLoRA it is
sqrt(r), so that the merge is as many times too strong. Random entries are those after `torch.manual_seed(seed)`.
"""

import math
import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners import lora
from peft.utils import merge_utils
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from core import paths
from core.adapter import Factor, read_config
from core.config import MergeConfig
from core.errors import UserError
from core.merge.layer import Layer
from core.merge.parents import Parent, by_layer, has_rslora

USUAL_ORDER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Of the layers in a block of a Llama and its kin."""


def combiner(config: MergeConfig, parents: Sequence[Parent]) -> Callable[[Layer, MergeConfig], Factor]:
    """A strategy for one layer, as those of delta space. Random numbers are drawn here, layer after layer, in the order of the model."""
    layers = in_model_order(by_layer(parents), parents[0])
    _check_ranks(layers)
    merge = _function(config, len(parents))
    rank = parents[0].adapter.rank
    scale = math.sqrt(rank) if has_rslora(parents[0]) else 1.0
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a density of 1 drops nothing
        torch.manual_seed(config.seed)
        for layer in layers:
            _draw_start(layer, rank, read_config(parents[0].folder).get("init_lora_weights", True))
        merged = {layer.name: _merged(layer, merge, scale) for layer in layers}
    return lambda layer, _: merged[layer.name]


def in_model_order(layers: Sequence[Layer], parent: Parent) -> list[Layer]:
    """In the order of the base model's modules, where its config is on this machine; else by number, and in a block as Llama has them."""
    order = {name: place for place, name in enumerate(_modules(parent))}
    return sorted(layers, key=lambda layer: (order.get(layer.name, len(order)), _usual_place(layer.name)))


def _modules(parent: Parent) -> list[str]:
    """Names of the base model's modules; none where its config is not at hand. Weights are neither needed nor read."""
    said = parent.adapter.info.get("base_model") or parent.adapter.base_model or "unknown"
    try:
        folder = next((place for place in (Path(said).expanduser(), paths.home() / said) if place.is_dir()), said)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError):
        return []
    return [name for name, _ in model.named_modules()]


def _usual_place(layer: str) -> tuple[bool, list[int], int, str]:
    numbers, last = [int(number) for number in re.findall(r"\d+", layer)], layer.rpartition(".")[2]
    return not numbers, numbers, USUAL_ORDER.index(last) if last in USUAL_ORDER else len(USUAL_ORDER), layer


def _check_ranks(layers: Sequence[Layer]) -> None:
    for layer in layers:
        if len({factor.rank for factor in layer.factors}) > 1:
            raise UserError(
                f"space=factor adds A to A and B to B, and the ranks of the adapters differ ({layer.name}: "
                f"{', '.join(str(factor.rank) for factor in layer.factors)}). Use space=delta, which merges any ranks."
            )


def _function(config: MergeConfig, adapters: int) -> Callable[..., Tensor]:
    """peft's own function on a list of tensors and their weights."""
    if config.strategy == "linear" or adapters == 1:
        return merge_utils.task_arithmetic
    return partial(getattr(merge_utils, config.strategy), density=config.density)


def _draw_start(layer: Layer, rank: int, init: Any) -> None:
    """PEFT gives the new adapter random start values, in every layer, before it merges: the same random numbers are drawn here."""
    base = nn.Linear(layer.shape[1], layer.shape[0], bias=False, device="meta")
    lora.Linear(base, "merged", LoraConfig(init_lora_weights=init), r=rank, lora_alpha=rank)


def _merged(layer: Layer, merge: Callable[..., Tensor], scale: float) -> Factor:
    shares = [weight * factor.scale for factor, weight in zip(layer.factors, layer.weights, strict=True)]
    roots = [math.sqrt(abs(share)) for share in shares]
    signed = [root if share >= 0 else -root for root, share in zip(roots, shares, strict=True)]
    A = merge([factor.A for factor in layer.factors], torch.tensor(signed))
    B = merge([factor.B for factor in layer.factors], torch.tensor(roots))
    return Factor(A, B, scale)
