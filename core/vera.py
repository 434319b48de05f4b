"""VeRA folders of PEFT: written, and read as the plain LoRA that they are.

VeRA (Kopiczko et al. 2023, arXiv:2310.11454) adds diag(b) B diag(d) A to the weight of each target layer. A [r, in] and B [out, r]
are frozen, random, and the same for all layers (each takes the corner that it needs); the vectors d [r] and b [out] train. So the
delta is exactly a LoRA with A' = diag(d) A, B' = diag(b) B and scale 1.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core import peft_files
from core.errors import UserError
from core.peft_config import PREFIX

_WIDTHS = "in_features"
"""Name in the weights' metadata under which Lyceum notes how many columns of A each layer takes: PEFT's folders don't say."""


@dataclass(frozen=True)
class VeraWeights:
    """What a VeRA folder holds."""

    key: int
    """`projection_prng_key`"""
    A: Tensor
    """[r, widest in]"""
    B: Tensor
    """[widest out, r]"""
    d: dict[str, Tensor]
    """[r] by layer"""
    b: dict[str, Tensor]
    """[out] by layer"""
    in_features: dict[str, int]
    """Columns of A by layer."""


def write(weights: VeraWeights, folder: Path, base_model: str, info: Mapping[str, Any], dtype: torch.dtype) -> Path:
    """Write a PEFT VeRA folder, projections and all."""
    config = {
        "peft_type": "VERA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": weights.A.shape[0],
        "target_modules": peft_files.target_modules(weights.d),
        "projection_prng_key": weights.key,
        "save_projection": True,
        "vera_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    tensors = {"base_model.vera_A": weights.A, "base_model.vera_B": weights.B}
    tensors |= {f"{PREFIX}{layer}.vera_lambda_d": d for layer, d in weights.d.items()}
    tensors |= {f"{PREFIX}{layer}.vera_lambda_b": b for layer, b in weights.b.items()}
    saved = {name: tensor.detach().to("cpu", dtype, copy=True).contiguous() for name, tensor in tensors.items()}
    return peft_files.write(folder, config, saved, info, {_WIDTHS: json.dumps(weights.in_features)})


def projections(key: int, r: int, widest_in: int, widest_out: int) -> tuple[Tensor, Tensor]:
    """The frozen A [r, widest_in] and B [widest_out, r] of `projection_prng_key`: PEFT's recipe, to the same numbers.

    Kaiming uniform (He et al. 2015, arXiv:1502.01852): within +-sqrt(6 / fan in).
    """
    draw = torch.Generator().manual_seed(key)
    bounds = [math.sqrt(3.0) * (math.sqrt(2.0) / math.sqrt(fan)) for fan in (widest_in, r)]
    A = torch.empty(r, widest_in).uniform_(-bounds[0], bounds[0], generator=draw)
    B = torch.empty(widest_out, r).uniform_(-bounds[1], bounds[1], generator=draw)
    return A, B


def as_lora(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """A' [r, in] and B' [out, r] by layer, in fp32, of a VeRA folder made here or elsewhere; exact, at scale 1."""
    vectors = _vectors(folder, tensors)
    widths = json.loads(metadata[_WIDTHS]) if _WIDTHS in metadata else _widths_in_base(folder, config)
    if missing := sorted(vectors.keys() - widths.keys()):
        raise UserError(f"{folder} has an adapter for layer {missing[0]}, which its base model does not have as a linear layer.")
    r = next(len(d) for d, _ in vectors.values())
    widest_in, widest_out = max(widths[layer] for layer in vectors), max(len(b) for _, b in vectors.values())
    if config.get("save_projection", True):
        A, B = (tensors.get(f"base_model.vera_{name}", torch.empty(0, 0)).float() for name in "AB")
    else:
        A, B = projections(config.get("projection_prng_key", 0), r, widest_in, widest_out)
    fits = A.shape[0] == B.shape[1] == r and A.shape[1] >= widest_in and B.shape[0] >= widest_out
    if not fits or any(len(d) != r for d, _ in vectors.values()):
        raise UserError(f"{folder}: the projections vera_A and vera_B are missing or too small for its vectors. Save the adapter again.")
    return {layer: (d[:, None] * A[:, : widths[layer]], b[:, None] * B[: len(b)]) for layer, (d, b) in vectors.items()}


def _vectors(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """d and b of each layer, in fp32."""
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in sorted(tensors.items()):
        layer, found, which = key.removeprefix(PREFIX).rpartition(".vera_lambda_")
        if found:
            pairs.setdefault(layer, {})[which] = tensor.float()
    if not pairs:
        raise UserError(f"{folder} holds no vectors vera_lambda_d and vera_lambda_b, so there is no adapter in it.")
    for layer, pair in pairs.items():
        if set(pair) != {"d", "b"}:
            raise UserError(f"{folder}: layer {layer} lacks one of its vectors d and b. The folder is damaged; save the adapter again.")
    return {layer: (pair["d"], pair["b"]) for layer, pair in pairs.items()}


def _widths_in_base(folder: Path, config: Mapping[str, Any]) -> dict[str, int]:
    """in_features of the linear layers of the base model that a folder names, from the base's config.json alone."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from core.models import bundled

    name = config.get("base_model_name_or_path") or ""
    place = bundled.converted() if name == bundled.HUB_NAME and bundled.gguf() else name
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(place, trust_remote_code=False))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} is a VeRA, which can't be read without the shapes of its base model '{name}', and that can't be opened. "
            "Put the base model's folder into base_model_name_or_path of its adapter_config.json."
        ) from error
    return {layer: module.in_features for layer, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
