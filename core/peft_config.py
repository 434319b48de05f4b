"""What the JSON files of a PEFT folder say: adapter_config.json, and run.json where Lyceum made it. Read with checks; light."""

import errno
import json
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError, shown

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the name of a layer."""
_RECIPE = {"adapters", "hashes", "weights", "strategy", "rank"}
"""What every recipe of a merge says."""
ROLES = ("own", "pooled", "merged", "route")
KINDS = {"LORA": r"\.lora_[AB]\.weight$", "VERA": r"\.vera_lambda_[bd]$|^base_model\.vera_[AB]$"}
"""PEFT types that a bank takes, and the names of their tensors."""
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


def odd_settings(config: Mapping[str, Any]) -> list[str]:
    """What an adapter_config.json says that an additive low-rank delta on linear layers has not, by name."""
    kind = str(config.get("peft_type"))
    found = [label for flag, label in _REFUSED_FLAGS.items() if config.get(flag)]
    if kind not in KINDS:
        found.append(f"PEFT type {kind}")
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(_FORGET_BASE):
        found.append(f"{start} start, which changes the base model")
    if config.get("fan_in_fan_out"):
        found.append("fan_in_fan_out (Conv1D layers)")
    return found


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
