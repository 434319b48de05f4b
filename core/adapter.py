"""One low-rank adapter: a PEFT folder read into factors, and factors written as a PEFT folder.

An adapter adds `scale * B @ A` to the weight of each target layer (Hu et al. 2021, arXiv:2106.09685).
VeRA folders are such deltas too, and are read as them. What is none is refused by name, never read wrong.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core import paths, peft_config, peft_files, vera
from core.errors import UserError, shown
from core.peft_config import KINDS, WEIGHTS, odd_settings, read_config, read_info

__all__ = ["WEIGHTS", "Adapter", "Factor", "content_hash", "find", "read", "read_config", "read_info", "write"]


@dataclass(frozen=True)
class Factor:
    """The delta of one layer: `scale * B @ A`."""

    A: Tensor
    """[r, in]"""
    B: Tensor
    """[out, r]"""
    scale: float

    @property
    def rank(self) -> int:
        """Number of rows of A."""
        return self.A.shape[0]


@dataclass(frozen=True)
class Adapter:
    """Factors by the name of their layer in the base model, such as `model.layers.0.self_attn.q_proj`."""

    name: str
    factors: dict[str, Factor]
    base_model: str
    """`base_model_name_or_path` of the PEFT folder."""
    info: dict[str, Any] = field(default_factory=dict)
    """run.json of a folder that Lyceum made (role, categories, base hash, ...); empty for foreign folders."""

    @property
    def rank(self) -> int:
        """The largest rank over all layers."""
        return max(factor.rank for factor in self.factors.values())


def find(name: str) -> Path:
    """The folder of an adapter: a name under adapters/ or merged_adapters/, or a path (from LYCEUM_HOME or from here)."""
    roots = [paths.adapters(), paths.merged_adapters()]
    places = [*(root / name for root in roots), paths.home() / name, Path(os.path.expanduser(name))]
    for place in places:
        if peft_config.exists(place / peft_config.CONFIG):
            return place
    _refuse_other(name, places)
    known = sorted(file.parent.name for root in roots for file in root.glob(f"*/{peft_config.CONFIG}"))
    raise UserError(
        f"There is no adapter '{shown(name)}': neither a name under adapters/ or merged_adapters/ nor a PEFT folder. "
        + (f"Known: {', '.join(known)}." if known else "Train one first: python -m core train")
    )


def read(folder: Path) -> Adapter:
    """Read a PEFT LoRA or VeRA folder, made here or elsewhere. Factors are fp32 on the CPU, whatever the file holds."""
    config = read_config(folder)
    tensors, metadata = peft_files.read_weights(folder)
    _refuse(folder, config, tensors)
    if config["peft_type"] == "VERA":
        pairs = vera.as_lora(folder, config, tensors, metadata)
        factors = {layer: Factor(A, B, 1.0) for layer, (A, B) in pairs.items()}
    else:
        factors = _lora_factors(folder, config, tensors)
    return Adapter(folder.absolute().name, factors, config.get("base_model_name_or_path") or "", read_info(folder))


def write(adapter: Adapter, folder: Path, dtype: torch.dtype = torch.float32, magnitudes: Mapping[str, Tensor] | None = None) -> Path:
    """Write a PEFT LoRA folder. Ranks and scales may differ per layer; each layer's scale is kept exact through its alpha pattern.

    `magnitudes`: DoRA's vector of each layer, [out]; the folder is then a DoRA.
    """
    ranks = {layer: factor.rank for layer, factor in adapter.factors.items()}
    alphas = {layer: factor.scale * factor.rank for layer, factor in adapter.factors.items()}
    r = max(ranks.values())
    alpha = next(alphas[layer] for layer, rank in ranks.items() if rank == r)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base_model,
        "r": r,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "rank_pattern": {peft_files.pattern_of(layer): rank for layer, rank in ranks.items() if rank != r},
        "alpha_pattern": {peft_files.pattern_of(layer): value for layer, value in alphas.items() if value != alpha},
        "target_modules": peft_files.target_modules(ranks),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "use_rslora": False,
        "use_dora": magnitudes is not None,
    }
    tensors = {}
    for layer, factor in adapter.factors.items():
        tensors[f"{peft_config.PREFIX}{layer}.lora_A.weight"] = factor.A.to(dtype, copy=True).contiguous()
        tensors[f"{peft_config.PREFIX}{layer}.lora_B.weight"] = factor.B.to(dtype, copy=True).contiguous()
    for layer, magnitude in (magnitudes or {}).items():
        tensors[f"{peft_config.PREFIX}{layer}.lora_magnitude_vector"] = magnitude.float().clone()  # rounding it would rescale rows of W
    return peft_files.write(folder, config, tensors, adapter.info)


def content_hash(folder: Path) -> str:
    """sha256 over the weights and what scales them: the same delta has the same hash under any name.

    A merge that was shipped without weights is its recipe: which adapters (by their hashes), with which weights.
    """
    config, info = read_config(folder), read_info(folder)
    if info.get("recipe") and not (folder / WEIGHTS).exists():
        recipe = peft_config.recipe_of(info, folder.name)
        keys = ["strategy", "weights", "hashes", "rank"]
        keys += [key for key in ("space", "density", "ties_lambda", "della_epsilon", "breadcrumbs_gamma", "seed") if key in recipe]
        return hashlib.sha256(json.dumps([recipe[key] for key in keys]).encode()).hexdigest()[:16]
    scaling = [config.get(key) for key in ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora")]
    if config.get("peft_type") == "VERA":
        scaling = ["VERA", config.get("r"), config.get("projection_prng_key")]
    digest = hashlib.sha256(json.dumps(scaling).encode())
    with peft_files.weights_file(folder).open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:16]


def _refuse_other(name: str, places: Sequence[Path]) -> None:
    """Say so where the name is a route's or a whole model's."""
    if any(peft_config.exists(place / paths.ROUTER) for place in places):
        raise UserError(f"'{shown(name)}' is a route, which has no delta of its own. Name the adapters that it chooses from.")
    if any(peft_config.exists(place / "config.json") for place in (paths.models() / name, *places)):
        raise UserError(f"'{shown(name)}' is a whole model, and whole models can't be merged or mixed. Name an adapter.")


def _lora_factors(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Factor]:
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        layer, _, which = key.removeprefix(peft_config.PREFIX).rpartition(".lora_")
        pairs.setdefault(layer, {})[which[0]] = tensor.float()
    factors = {}
    for layer, pair in sorted(pairs.items()):
        rank = peft_config.rank_of(config, layer)
        if set(pair) != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1] or pair["A"].shape[0] != rank:
            raise UserError(
                f"{folder}: the A and B of layer {layer} don't belong together, or not to the rank in adapter_config.json. "
                "The folder is damaged; save the adapter again."
            )
        factors[layer] = Factor(pair["A"], pair["B"], peft_config.scale_of(config, layer))
    return factors


def _refuse(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Everything that is no additive low-rank delta on a linear layer, by its name."""
    kind, found = str(config.get("peft_type")), odd_settings(config)
    names = KINDS.get(kind, KINDS["LORA"])
    odd = sorted(key for key, tensor in tensors.items() if not re.search(names, key) or (kind == "LORA" and tensor.ndim != 2))
    if odd:
        found.append(f"tensors besides those of linear layers (such as {odd[0]})")
    _refuse_found(folder, found)
    if not tensors:
        raise UserError(f"{folder / WEIGHTS} holds no tensor, so there is no adapter in it.")


def check_config(folder: Path) -> None:
    """Raises UserError where an adapter_config.json says that the adapter is no additive low-rank delta."""
    _refuse_found(folder, odd_settings(read_config(folder)))


def _refuse_found(folder: Path, found: Sequence[str]) -> None:
    if found:
        raise UserError(
            f"Adapter '{folder.name}' can't join a bank: it has {'; '.join(found)}. "
            "Only additive low-rank deltas on linear layers can be mixed; convert it to plain LoRA first."
        )
