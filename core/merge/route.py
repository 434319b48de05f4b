"""Make a route: a small router that picks, for each question or each token, a mix of adapters. Test rows play no part in it."""

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from core import paths, routing
from core.config import RouteConfig
from core.merge import ROUTERS, parents, recipe
from core.merge.parents import Parent
from core.merge.run import free_name, shared
from core.registry import lookup
from core.workspace import Workspace

Progress = Callable[..., None]


@dataclass(frozen=True)
class Fit:
    """What a router's function makes of adapters and data."""

    tensors: dict[str, Tensor]
    """As `core/routing.py` names them."""
    temperature: float
    categories: list[list[str]]
    """The categories of each adapter."""
    top_k: int
    """The number of adapters that get a weight, where the person didn't say it."""
    said: dict[str, Any] = field(default_factory=dict)
    """What it was made of and how well it did on validation rows, for run.json."""


def run(config: RouteConfig, workspace: Workspace) -> dict[str, Any]:
    """Publish merged_adapters/<name> with run.json and router.safetensors. Returns where it is, its settings and its validation figures."""
    name = free_name(config.name or f"{config.router}_route", config.replace, workspace)
    members = [recipe.parent(*each) for each in parents.find(config.adapters, ())]
    for warning in parents.check(members):
        workspace.say(f"Warning: {warning}")
    made: Fit = lookup(ROUTERS, "router", config.router).load()(members, config, workspace)
    said = _record(config, members, made)
    written = routing.write(workspace.scratch / name, _info(config, workspace, members, said), made.tensors)
    final = workspace.publish(written, paths.merged_adapters() / name, config.replace)
    workspace.say(f"{name}: {config.router} over {len(members)} adapters, temperature {made.temperature:.3g}, top {said['top_k']}.")
    return {"route": str(final.relative_to(paths.home())), **said}


def _record(config: RouteConfig, members: Sequence[Parent], made: Fit) -> dict[str, Any]:
    """What decides the route, and what its bits depend on."""
    return {
        "router": config.router,
        "adapters": [member.name for member in members],
        "hashes": [member.content_hash for member in members],
        "categories": made.categories,
        "temperature": made.temperature,
        "top_k": config.top_k or made.top_k,
        "encoder": config.encoder,
        **made.said,
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
        "threads": torch.get_num_threads(),
    }


def _info(config: RouteConfig, workspace: Workspace, members: Sequence[Parent], said: dict[str, Any]) -> dict[str, Any]:
    """run.json of the route. What its adapters disagree about is empty."""
    return {
        "run_id": workspace.run.run_id,
        "role": "route",
        "categories": list(dict.fromkeys(category for names in said["categories"] for category in names)),
        "base_model": shared(members, "base_model") or members[0].adapter.base_model,
        "base_hash": shared(members, "base_hash"),
        "quantization": shared(members, "quantization"),
        "method": config.router,
        "config": config.model_dump(mode="json"),
        "route": said,
    }
