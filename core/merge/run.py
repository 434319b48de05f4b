"""Merge PEFT folders, made here or elsewhere, into one PEFT folder under merged_adapters/."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from core import adapter, paths
from core.adapter import Adapter, Factor
from core.config import MergeConfig
from core.errors import UserError
from core.merge import STRATEGIES, lowrank, parents
from core.merge.parents import Parent
from core.registry import lookup
from core.runs import Workspace

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def run(config: MergeConfig, workspace: Workspace) -> dict[str, Any]:
    """Merge `config.adapters` and publish merged_adapters/<name>. Returns where it is, its recipe, and how far it is from the exact sum."""
    name = _free_name(config, workspace)
    everyone = parents.find(config.adapters, config.weights)
    active = [_parent(*each) for each in everyone if each[2] != 0]
    for warning in parents.check(active):
        workspace.say(f"Warning: {warning}")
    merged = merge(active, config.strategy, config.rank, workspace.progress)
    recipe = {
        "strategy": config.strategy,
        "weights": [weight for _, _, weight in everyone],
        "adapters": [name for name, _, _ in everyone],
        "hashes": [adapter.content_hash(folder) for _, folder, _ in everyone],
        "rank": max(factor.rank for factor in merged.values()),
    }
    made = Adapter(name, merged, active[0].adapter.base_model, _info(config, workspace, active, recipe))
    written = adapter.write(made, workspace.scratch / name, DTYPES[config.dtype])
    fidelity = _fidelity(active, adapter.read(written).factors)
    final = workspace.publish(written, paths.merged_adapters() / name, config.replace)
    workspace.say(f"{name}: rank {recipe['rank']}, {len(merged)} layers. {_wording(fidelity)}")
    return {"adapter": str(final.relative_to(paths.home())), "layers": len(merged), **recipe, **fidelity}


def merge(active: Sequence[Parent], strategy: str, rank: int | None, progress: Callable[..., None]) -> dict[str, Factor]:
    """Apply a strategy layer by layer. An adapter that lacks a layer contributes nothing to it. No rank: the largest of the adapters."""
    combine = lookup(STRATEGIES, "merge strategy", strategy).load()
    rank = rank or max(parent.adapter.rank for parent in active)
    layers = parents.by_layer(active)
    merged = {}
    for done, (layer, shares) in enumerate(layers.items(), 1):
        merged[layer] = combine([factor for _, factor, _ in shares], [weight for _, _, weight in shares], rank)
        progress(done, len(layers), "layers", layer)
    return merged


def read(folder: Path) -> Adapter:
    """An adapter, or a merge that was shipped as its recipe alone: that one is merged again from its adapters."""
    info = adapter.read_info(folder)
    if "recipe" not in info or (folder / adapter.WEIGHTS).exists():
        return adapter.read(folder)
    recipe = info["recipe"]
    everyone = parents.find(recipe["adapters"], recipe["weights"])
    for (name, place, _), recorded in zip(everyone, recipe["hashes"], strict=True):
        if adapter.content_hash(place) != recorded:
            raise UserError(
                f"'{folder.name}' is a recipe without weights, and its adapter '{name}' has changed since it was merged. "
                "Merge again with replace=true."
            )
    active = [_parent(*each) for each in everyone if each[2] != 0]
    merged = merge(active, recipe["strategy"], recipe["rank"], lambda *_: None)
    return Adapter(folder.name, merged, active[0].adapter.base_model, info)


def _free_name(config: MergeConfig, workspace: Workspace) -> str:
    """The merge's name, refused before any work when it is taken or would hide behind an adapter's."""
    name = paths.check_model_name(config.name or f"{config.strategy}_merged_adapter", "merged adapter")
    for shelf, kind in ((paths.adapters(), "an adapter"), (paths.models(), "a whole model")):
        if (shelf / name).exists():
            raise UserError(f"'{name}' is the name of {kind} already, and names must tell models apart. Choose another name.")
    final = paths.merged_adapters() / name
    if final.exists() and not config.replace and not workspace.made(final):
        raise UserError(f"The merged adapter '{name}' exists already. Choose another name, or say replace=true.")
    return name


def _parent(name: str, folder: Path, weight: float) -> Parent:
    return Parent(name, folder, weight, adapter.content_hash(folder), read(folder))


def _info(config: MergeConfig, workspace: Workspace, active: Sequence[Parent], recipe: dict[str, Any]) -> dict[str, Any]:
    """run.json of the merged adapter. What its adapters disagree about is empty."""
    infos = [parent.adapter.info for parent in active]

    def shared(key: str) -> Any:
        values = [info.get(key) for info in infos]
        return values[0] if values.count(values[0]) == len(values) else None

    return {
        "run_id": workspace.run.run_id,
        "role": "merged",
        "categories": list(dict.fromkeys(category for info in infos for category in info.get("categories", []))),
        "base_model": shared("base_model") or active[0].adapter.base_model,
        "base_hash": shared("base_hash"),
        "quantization": shared("quantization"),
        "method": config.strategy,
        "seed": None,
        "config": config.model_dump(mode="json"),
        "recipe": recipe,
    }


def _wording(fidelity: dict[str, float | None]) -> str:
    if fidelity["energy_kept"] is None:
        return "The weighted sum is 0: as a merge this is the base model."
    return f"{fidelity['energy_kept']:.2%} of the exact weighted sum's energy kept."


def _fidelity(active: Sequence[Parent], written: dict[str, Factor]) -> dict[str, float | None]:
    """How far the folder, as written, is from the exact weighted sum, over all layers (Frobenius norm). Empty where that sum is 0."""
    energy = distance = 0.0
    for layer, shares in parents.by_layer(active).items():
        exact = lowrank.weighted_sum([factor for _, factor, _ in shares], [weight for _, _, weight in shares])
        energy += lowrank.squared_norm(exact)
        distance += lowrank.squared_norm(lowrank.weighted_sum([exact, written[layer]], [1.0, -1.0]))
    if energy == 0:
        return {"relative_error": None, "energy_kept": None}
    return {"relative_error": (distance / energy) ** 0.5, "energy_kept": 1 - distance / energy}
