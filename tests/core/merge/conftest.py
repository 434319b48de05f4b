"""Foreign adapters that differ in everything that may differ, and merges of folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from core import adapter, paths, runs
from core.config import MergeConfig
from core.merge import run as merge_run

UNEQUAL: list[dict[str, Any]] = [
    {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    {"r": 6, "lora_alpha": 8, "use_rslora": True, "target_modules": ["q_proj", "k_proj", "down_proj"]},
    {
        **{"r": 3, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
        **{"alpha_pattern": {"v_proj": 5}, "rank_pattern": {"layers.1.self_attn.q_proj": 2}},
    },
]
"""Ranks, alphas, rsLoRA, patterns, and layers that not all of them have."""

Deltas = dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def unequal(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three folders that peft itself wrote, with random A and B."""
    folders = []
    for n, fields in enumerate(UNEQUAL):
        folder = tmp_path_factory.mktemp("unequal") / f"unequal-{n}"
        with torch.random.fork_rng():
            torch.manual_seed(n + 1)
            model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), LoraConfig(task_type="CAUSAL_LM", **fields))
            for key, tensor in model.named_parameters():
                if ".lora_" in key:
                    torch.nn.init.normal_(tensor, std=0.1)
        model.save_pretrained(folder)
        folders.append(folder)
    return folders


@pytest.fixture
def merge() -> Callable[..., tuple[dict[str, Any], Path]]:
    """`merge(adapters, **fields)`: outputs and folder of the merge verb."""

    def run(adapters: list[Path | str], **fields: Any) -> tuple[dict[str, Any], Path]:
        config = MergeConfig(adapters=tuple(map(str, adapters)), **fields)
        outputs = merge_run.run(config, runs.Workspace(runs.create("merge", config.model_dump(mode="json"))))
        return outputs, paths.home() / outputs["adapter"]

    return run


@pytest.fixture(scope="session")
def deltas() -> Callable[[Path], Deltas]:
    """The full delta of each layer of a folder, in float64."""

    def read(folder: Path) -> Deltas:
        factors = adapter.read(folder).factors
        return {layer: factor.scale * factor.B.double() @ factor.A.double() for layer, factor in factors.items()}

    return read
