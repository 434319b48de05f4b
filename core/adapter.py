"""One low-rank adapter: a PEFT folder read into factors, and factors written as a PEFT folder.

An adapter adds `scale * B @ A` to the weight of each target layer (Hu et al. 2021, arXiv:2106.09685).
What is not such a delta is refused by name, never read wrong.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core import paths
from core.errors import UserError

WEIGHTS = "adapter_model.safetensors"
ROLES = ("own", "pooled", "merged")
_PREFIX = "base_model.model."
_REFUSED_FLAGS = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
    "monteclora_config": "Monteclora",
    "arrow_config": "Arrow routing",
    "alora_invocation_tokens": "activated LoRA",
    "layer_replication": "layer replication",
    "target_parameters": "target_parameters (expert tensors)",
}
_FORGET_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


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
    for place in [*(root / name for root in roots), paths.home() / name, Path(name).expanduser()]:
        if (place / "adapter_config.json").exists():
            return place
    known = sorted(file.parent.name for root in roots for file in root.glob("*/adapter_config.json"))
    raise UserError(
        f"There is no adapter '{name}': neither a name under adapters/ or merged_adapters/ nor a PEFT folder. "
        + (f"Known: {', '.join(known)}." if known else "Train one first: python -m core train")
    )


def read(folder: Path) -> Adapter:
    """Read a PEFT LoRA folder, made here or elsewhere. Factors are fp32 on the CPU, whatever the file holds."""
    config = read_config(folder)
    try:
        tensors = load_file(_weights_file(folder))
    except SafetensorError as error:
        raise UserError(f"{folder / WEIGHTS} can't be read ({error}): it is damaged or half-copied. Copy it again.") from None
    _refuse(folder, config, tensors)
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        layer, _, which = key.removeprefix(_PREFIX).rpartition(".lora_")
        if not tensor.isfinite().all():
            raise UserError(f"{folder}: tensor {key} holds NaN or infinity. The training behind it diverged; train it again.")
        pairs.setdefault(layer, {})[which[0]] = tensor.float()
    if not pairs:
        raise UserError(f"{folder / WEIGHTS} holds no LoRA tensor, so there is no adapter in it.")
    factors = {}
    for layer, pair in sorted(pairs.items()):
        if set(pair) != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1] or pair["A"].shape[0] != _rank(config, layer):
            raise UserError(
                f"{folder}: the A and B of layer {layer} don't belong together, or not to the rank in adapter_config.json. "
                "The folder is damaged; save the adapter again."
            )
        factors[layer] = Factor(pair["A"], pair["B"], _scale(config, layer))
    return Adapter(folder.absolute().name, factors, config.get("base_model_name_or_path") or "", read_info(folder))


def read_info(folder: Path) -> dict[str, Any]:
    """run.json of an adapter folder; empty where there is none, or one that another program wrote for itself."""
    file = folder / "run.json"
    info = _read_object(file) if file.exists() else {}
    return info if info.get("role") in ROLES else {}


def read_config(folder: Path) -> dict[str, Any]:
    """adapter_config.json of a PEFT folder, with ranks and alphas that are numbers."""
    file = folder / "adapter_config.json"
    if not file.exists():
        raise UserError(f"{folder} has no adapter_config.json, so it is no PEFT folder. Give a folder that PEFT saved.")
    config = _read_object(file)
    for key, pattern in (("r", "rank_pattern"), ("lora_alpha", "alpha_pattern")):
        patterns = config.get(pattern) or {}
        try:
            re.compile("|".join(patterns))
            values = [config.get(key, 8), *patterns.values()]
        except (AttributeError, TypeError, re.error):
            raise UserError(
                f"{file}: {pattern} doesn't map patterns of layer names to numbers. Save the adapter again with PEFT."
            ) from None
        for value in values:
            if not isinstance(value, int | float) or not math.isfinite(value) or (key == "r" and value < 1):
                raise UserError(f"{file} has {key}={value!r}, which can't scale a delta. Save the adapter again with PEFT.")
    return config


def write(adapter: Adapter, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a PEFT LoRA folder. Ranks and scales may differ per layer; each layer's scale is kept exact through its alpha pattern."""
    folder.mkdir(parents=True, exist_ok=True)
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
        "rank_pattern": {_exactly(layer): rank for layer, rank in ranks.items() if rank != r},
        "alpha_pattern": {_exactly(layer): value for layer, value in alphas.items() if value != alpha},
        "target_modules": _targets(ranks),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "use_rslora": False,
        "use_dora": False,
    }
    tensors = {}
    for layer, factor in adapter.factors.items():
        tensors[f"{_PREFIX}{layer}.lora_A.weight"] = factor.A.to(dtype, copy=True).contiguous()
        tensors[f"{_PREFIX}{layer}.lora_B.weight"] = factor.B.to(dtype, copy=True).contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes files that only their owner can read
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
    if adapter.info:
        (folder / "run.json").write_text(json.dumps(adapter.info, indent=1, ensure_ascii=False) + "\n")
    return folder


def content_hash(folder: Path) -> str:
    """sha256 over the weights and what scales them: the same delta has the same hash under any name.

    A merge that was shipped without weights is its recipe: which adapters (by their hashes), with which weights.
    """
    config, recipe = read_config(folder), read_info(folder).get("recipe")
    if recipe and not (folder / WEIGHTS).exists():
        return hashlib.sha256(json.dumps([recipe[key] for key in ("strategy", "weights", "hashes", "rank")]).encode()).hexdigest()[:16]
    digest = hashlib.sha256(
        json.dumps([config.get(key) for key in ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora")]).encode()
    )
    with _weights_file(folder).open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:16]


def _weights_file(folder: Path) -> Path:
    if not (folder / WEIGHTS).exists():
        raise UserError(f"{folder} has no {WEIGHTS}, so there are no weights to read. Save it again with PEFT (safetensors, not pickle).")
    return folder / WEIGHTS


def _read_object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is no JSON ({error}): it is damaged or half-copied. Copy or save the adapter again.") from None
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no JSON object. Copy or save the adapter again.")
    return found


def _refuse(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Everything that is no additive low-rank delta on a linear layer, by its name."""
    kind = config.get("peft_type")
    found = [label for flag, label in _REFUSED_FLAGS.items() if config.get(flag)]
    if kind != "LORA":
        found.append(f"PEFT type {kind}")
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(_FORGET_BASE):
        found.append(f"{start} start, which changes the base model")
    if config.get("fan_in_fan_out"):
        found.append("fan_in_fan_out (Conv1D layers)")
    odd = sorted(key for key, tensor in tensors.items() if not re.search(r"\.lora_[AB]\.weight$", key) or tensor.ndim != 2)
    if odd:
        found.append(f"tensors besides the lora_A and lora_B of linear layers (such as {odd[0]})")
    if found:
        raise UserError(
            f"Adapter '{folder.name}' can't join a bank: it has {'; '.join(found)}. "
            "Only additive low-rank deltas on linear layers can be mixed; convert it to plain LoRA first."
        )


def _rank(config: dict[str, Any], layer: str) -> int:
    """PEFT's rank of one layer; 8 is PEFT's default."""
    return int(_patterned(config.get("rank_pattern"), layer, config.get("r", 8)))


def _scale(config: dict[str, Any], layer: str) -> float:
    """PEFT's scaling of one layer: alpha / r, or alpha / sqrt(r) with rsLoRA."""
    alpha, rank = _patterned(config.get("alpha_pattern"), layer, config.get("lora_alpha", 8)), _rank(config, layer)
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _patterned(patterns: dict[str, Any] | None, layer: str, default: Any) -> Any:
    """The value of the first pattern that matches the whole name or its end: peft.utils.other.get_pattern_key."""
    matches = (value for pattern, value in (patterns or {}).items() if re.match(rf"(.*\.)?({pattern})$", layer))
    return next(matches, default)


def _exactly(layer: str) -> str:
    """A pattern for this layer alone: PEFT would also take it for the end of a longer name."""
    return "^" + re.escape(layer)


def _targets(layers: Iterable[str]) -> list[str]:
    """Short names where every block has the same layers, as PEFT writes them; else full names, so that PEFT adds no layer of its own."""
    blocks: dict[str, set[str]] = {}
    for layer in layers:
        blocks.setdefault(re.sub(r"\d+", "*", layer), set()).add("".join(re.findall(r"\d+\.", layer)))
    everywhere = len({frozenset(numbers) for numbers in blocks.values()}) == 1
    return sorted({layer.rpartition(".")[2] for layer in layers} if everywhere else layers)
