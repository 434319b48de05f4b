"""Adapters to evaluate, and an evaluation with its tables."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from core import adapter, paths, results, runs
from core.adapter import Adapter, Factor
from core.config import EvaluateConfig
from core.evaluate.run import run
from core.workspace import Workspace


def make_adapter(base, name, seed, folder=None, **info):
    """A random adapter of rank 2 or 3, strong enough to change answers."""
    chance = torch.Generator().manual_seed(seed)
    factors = {}
    for layer, module in base.model.named_modules():
        if layer.endswith(("q_proj", "v_proj")):
            rank = 2 + seed % 2
            A, B = torch.randn(rank, module.in_features, generator=chance), torch.randn(module.out_features, rank, generator=chance)
            factors[layer] = Factor(A * 0.2, B * 0.2, 0.5)
    info = {"role": "own", "base_model": base.name, "base_hash": base.content_hash, "quantization": "none"} | info
    return adapter.write(Adapter(name, factors, base.hub_name, info), folder or paths.adapters() / name)


def make_recipe(name, parents, weights):
    """An exact sum that was shipped as its recipe."""
    folder = paths.merged_adapters() / name
    folder.mkdir(parents=True)
    shutil.copy(paths.adapters() / parents[0] / "adapter_config.json", folder)
    hashes = [adapter.content_hash(paths.adapters() / parent) for parent in parents]
    recipe = {"strategy": "linear", "weights": weights, "adapters": parents, "hashes": hashes, "rank": 8}
    base_info = adapter.read_info(paths.adapters() / parents[0])
    (folder / "run.json").write_text(json.dumps({**base_info, "role": "merged", "categories": [], "recipe": recipe}))
    return folder


class Evaluated(NamedTuple):
    config: EvaluateConfig
    home: Path
    outputs: dict
    models: pd.DataFrame
    answers: pd.DataFrame
    scores: pd.DataFrame
    said: list[str]
    progress: list[dict]


def evaluate(config):
    workspace = Workspace(runs.create("evaluate", config.model_dump(mode="json")))
    outputs = run(config, workspace)
    tables = {"models": results.Model, "answers": results.Answer, "scores": results.Score}
    read_back = {name: results.read(paths.home() / outputs[name], row) for name, row in tables.items()}
    said = [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]
    progress = runs.read_events(workspace.run.run_id, "progress")
    return Evaluated(config, paths.home(), outputs, **read_back, said=said, progress=progress)


def value(scores, model, category, metric):
    return scores.set_index(["model", "category", "metric"]).loc[(model, category, metric)]


def quick(tiny_base, tiny_data, **changes):
    fields = {"data": str(tiny_data), "base_model": str(tiny_base), "split": "train", "limit": 1, "max_new_tokens": 2, "device": "cpu"}
    return EvaluateConfig(**fields | {"metrics": ("perplexity",)} | changes)
