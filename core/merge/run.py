"""Merge PEFT folders, made here or elsewhere, into one PEFT folder under merged_adapters/."""

import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any

import torch

from core import adapter, paths, results
from core.adapter import Adapter, Factor
from core.config import MergeConfig
from core.errors import UserError
from core.merge import STRATEGIES, fidelity, parents, recipe
from core.merge.combine import DTYPES, combine, rounded
from core.merge.parents import Parent
from core.results import ALL, Cosine, Fidelity
from core.workspace import Workspace


def run(config: MergeConfig, workspace: Workspace) -> dict[str, Any]:
    """Merge `config.adapters` and publish merged_adapters/<name>. Returns where it is, its recipe, and how far it is from the exact sum."""
    config = recipe.read(config, workspace.say) if config.recipe else config
    name = free_name(config.name or f"{config.strategy}_merged_adapter", config.replace, workspace)
    everyone = parents.find(config.adapters, config.weights)
    active = [recipe.parent(*each) for each in everyone if parents.takes_part(config, each[2])]
    for warning in parents.check(active) + parents.check_factor_space(config, active):
        workspace.say(f"Warning: {warning}")
    if workspace.run.executor == "ray":
        from core.cluster.hands import call

        factors, measures, cosines, place = call("core.merge.run:compute", active, config, say=workspace.say)
    else:
        factors, measures, cosines, place = compute(active, config, workspace.progress)
    overall = {each.measure: each.value for each in measures if each.layer == ALL}
    made = Adapter(name, factors, active[0].adapter.base_model)
    said = {**recipe.record(config, everyone), "made_rank": made.rank, "fidelity": overall, **place}
    made.info.update(_info(config, workspace, active, said))
    written = adapter.write(made, workspace.scratch / name, DTYPES[config.dtype])
    results.write(written / "fidelity.csv", measures, Fidelity)
    results.write(written / "cosines.csv", cosines, Cosine)
    final = workspace.publish(written, paths.merged_adapters() / name, config.replace)
    workspace.say(f"{name}: rank {made.rank}, {len(factors)} layers. {_wording(overall)}")
    return {"adapter": str(final.relative_to(paths.home())), "layers": len(factors), **said, "rank": made.rank, **overall}


def compute(
    active: Sequence[Parent], config: MergeConfig, progress: Callable[..., None] = lambda *_: None
) -> tuple[dict[str, Factor], list[Fidelity], list[Cosine], dict[str, Any]]:
    """The merge's factors by layer, how far they are from the exact sum, and what else their bits depend on."""
    combined = combine(active, config, progress)
    factors = {layer: rounded(each.factor, config.dtype, layer) for layer, each in combined.items()}
    measures, cosines = fidelity.measure(active, combined, factors, progress)
    return factors, measures, cosines, _place()


def free_name(name: str, replace: bool, workspace: Workspace) -> str:
    """The name of what is made, refused before any work when it is taken or would hide behind an adapter's."""
    paths.check_model_name(name, "merged adapter")
    for shelf, kind in ((paths.adapters(), "an adapter"), (paths.models(), "a whole model")):
        if (shelf / name).exists():
            raise UserError(f"'{name}' is the name of {kind} already, and names must tell models apart. Choose another name.")
    final = paths.merged_adapters() / name
    if final.exists() and not replace and not workspace.made(final):
        raise UserError(f"The merged adapter '{name}' exists already. Choose another name, or say replace=true.")
    return name


def _info(config: MergeConfig, workspace: Workspace, active: Sequence[Parent], said: dict[str, Any]) -> dict[str, Any]:
    """run.json of the merged adapter. What its adapters disagree about is empty."""
    return {
        "run_id": workspace.run.run_id,
        "role": "merged",
        "categories": list(dict.fromkeys(category for parent in active for category in parent.adapter.info.get("categories", []))),
        "base_model": shared(active, "base_model") or active[0].adapter.base_model,
        "base_hash": shared(active, "base_hash"),
        "quantization": shared(active, "quantization"),
        "method": config.strategy,
        "seed": config.seed if "seed" in STRATEGIES[config.strategy].fields else None,
        "config": config.model_dump(mode="json"),
        "recipe": said,
    }


def shared(members: Sequence[Parent], key: str) -> Any:
    """What the run.json of every adapter says; None where they disagree."""
    values = [member.adapter.info.get(key) for member in members]
    return values[0] if values.count(values[0]) == len(values) else None


def _place() -> dict[str, Any]:
    """What else the bits depend on."""
    return {"versions": {name: importlib.metadata.version(name) for name in ("torch", "numpy")}, "threads": torch.get_num_threads()}


def _wording(overall: dict[str, float | None]) -> str:
    if overall["relative_error"] is None:
        return "The weighted sum is 0: as a merge this is the base model."
    return (
        f"{overall['relative_error']:.2%} away from the exact weighted sum, {overall['energy_kept'] or 0:.2%} of the result's energy kept."
    )
