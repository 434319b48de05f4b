"""The files of a PEFT folder: adapter_config.json, the weights, and run.json where Lyceum made it. Read with checks, and written."""

import errno
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.errors import UserError, shown

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the name of a layer."""
_RECIPE = {"adapters", "hashes", "weights", "strategy", "rank"}
"""What every recipe of a merge says."""
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
ROLES = ("own", "pooled", "merged", "route")


def read_config(folder: Path) -> dict[str, Any]:
    """adapter_config.json, with ranks and alphas that are numbers."""
    file = folder / CONFIG
    if not file.exists():
        raise UserError(f"{folder} has no {CONFIG}, so it is no PEFT folder. Give a folder that PEFT saved.")
    config = _read_object(file)
    for key, pattern in (("r", "rank_pattern"), ("lora_alpha", "alpha_pattern")):
        patterns = config.get(pattern) or {}
        try:
            re.compile("|".join(patterns))
            values = [config.get(key, 8), *patterns.values()]
        except (AttributeError, TypeError, RecursionError, OverflowError, re.error):
            raise UserError(
                f"{file}: {pattern} doesn't map patterns of layer names to numbers. Save the adapter again with PEFT."
            ) from None
        for value in values:
            if not isinstance(value, int | float) or not abs(value) <= sys.float_info.max or (key == "r" and value < 1):
                raise UserError(f"{file} has {key}={shown(repr(value))}, which can't scale a delta. Save the adapter again with PEFT.")
    return config


def read_info(folder: Path) -> dict[str, Any]:
    """run.json of an adapter folder; empty where there is none, or one that another program wrote for itself."""
    file = folder / "run.json"
    info = _read_object(file) if file.exists() else {}
    return info if info.get("role") in ROLES else {}


def recipe_of(info: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The recipe in a merge's run.json, with as many hashes and weights as adapters. Raises UserError where there is none."""
    recipe = info.get("recipe")
    if not isinstance(recipe, dict) or not set(recipe) >= _RECIPE or not _whole(recipe):
        raise UserError(
            f"{shown(where, 200)} holds no recipe of a merge. "
            "Give a merged adapter that Lyceum made, its run.json, or a mergekit YAML file."
        )
    return recipe


def exists(file: Path) -> bool:
    """Whether a file or folder is there; one whose name is too long for a name is not."""
    try:
        return file.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def read_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, finite and on the CPU, and the file's metadata."""
    try:
        with safe_open(weights_file(folder), "pt") as file:
            tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 - no dict
    except SafetensorError as error:
        raise UserError(f"{folder / WEIGHTS} can't be read ({error}): it is damaged or half-copied. Copy it again.") from None
    for key, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise UserError(
                f"{folder}: tensor {key} is {str(tensor.dtype).removeprefix('torch.')}, and an adapter's are float32, float16 or bfloat16. "
                "Save it again in one of these."
            )
        if not tensor.isfinite().all():
            raise UserError(f"{folder}: tensor {key} holds NaN or infinity. The training behind it diverged; train it again.")
    return tensors, metadata


def weights_file(folder: Path) -> Path:
    """The file with the weights, which must be there."""
    if not (folder / WEIGHTS).exists():
        raise UserError(f"{folder} has no {WEIGHTS}, so there are no weights to read. Save it again with PEFT (safetensors, not pickle).")
    return folder / WEIGHTS


def write(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    info: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a folder that PEFT loads. An empty `info` writes no run.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / WEIGHTS, metadata={"format": "pt", **(metadata or {})})
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes files that only their owner can read
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    if info:
        (folder / "run.json").write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n")
    return folder


def rank_of(config: Mapping[str, Any], layer: str) -> int:
    """PEFT's LoRA rank of one layer; 8 is PEFT's default."""
    return int(patterned(config.get("rank_pattern"), layer, config.get("r", 8)))


def scale_of(config: Mapping[str, Any], layer: str) -> float:
    """PEFT's LoRA scaling of one layer: alpha / r, or alpha / sqrt(r) with rsLoRA."""
    alpha, rank = patterned(config.get("alpha_pattern"), layer, config.get("lora_alpha", 8)), rank_of(config, layer)
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def patterned(patterns: Mapping[str, Any] | None, layer: str, default: Any) -> Any:
    """The value of the first pattern that matches the whole name or its end: peft.utils.other.get_pattern_key."""
    matches = (value for pattern, value in (patterns or {}).items() if re.match(rf"(.*\.)?({pattern})$", layer))
    return next(matches, default)


def pattern_of(layer: str) -> str:
    """A pattern for this layer alone: PEFT would also take its name for the end of a longer one."""
    return "^" + re.escape(layer)


def target_modules(layers: Iterable[str]) -> list[str]:
    """Short names where every block has the same layers, as PEFT writes them; else full names, so that PEFT adds no layer of its own."""
    blocks: dict[str, set[str]] = {}
    for layer in layers:
        blocks.setdefault(re.sub(r"\d+", "*", layer), set()).add("".join(re.findall(r"\d+\.", layer)))
    everywhere = len({frozenset(numbers) for numbers in blocks.values()}) == 1
    return sorted({layer.rpartition(".")[2] for layer in layers} if everywhere else layers)


def _whole(recipe: Mapping[str, Any]) -> bool:
    names, hashes, weights = (recipe[key] for key in ("adapters", "hashes", "weights"))
    if not all(isinstance(each, list) for each in (names, hashes, weights)) or not len(names) == len(hashes) == len(weights) > 0:
        return False
    texts = all(isinstance(each, str) for each in (*names, *hashes, recipe["strategy"]))
    return texts and all(isinstance(each, int | float) and abs(each) <= sys.float_info.max for each in weights)


def _read_object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise UserError(f"{file} is a folder, where a JSON file should be. Copy or save the adapter again.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no JSON ({error}): it is damaged or half-copied. Copy or save the adapter again.") from None
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no JSON object. Copy or save the adapter again.")
    return found
