"""The files of a PEFT folder: the weights, read with checks, and all of them, written. core/peft_config.py reads the JSON."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.errors import UserError
from core.peft_config import CONFIG, WEIGHTS

_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


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
