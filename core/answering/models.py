"""Which models an evaluation compares: base, adapters, merges, routes and foreign PEFT folders, each as weights over the adapters of one
bank; and what can't join a bank, DoRA adapters and whole models."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import adapter, paths, results, routing
from core.answering import alone
from core.errors import UserError
from core.models.load import BaseModel
from core.models.load import content_hash as model_hash
from core.routing import Route

BASE = "base"
ALL = "all"
OWN = "own"
"""Each category's own adapter, as one model."""
_ROLES = ("base", "pooled", "own", "merged", "route")


@dataclass(frozen=True)
class Model:
    """One model: the base plus a weighted sum of adapters, a route over such sums, or a folder that stands alone."""

    row: results.Model
    mix: dict[Path, float]
    """Weight of each adapter folder that it is made of; empty for the base."""
    alone: Path | None = None
    """A DoRA adapter or a whole model."""
    route: Route | None = None
    routed: tuple[dict[Path, float], ...] = ()
    """What the route chooses among, each as its mix of adapter folders."""
    by_category: Mapping[str, dict[Path, float]] = field(default_factory=dict)
    """Of model 'own': the adapter that answers a category's questions; the base answers all others."""

    @property
    def folders(self) -> list[Path]:
        """The adapter folders that a bank needs for it."""
        return list(dict.fromkeys(folder for mix in (self.mix, *self.routed, *self.by_category.values()) for folder in mix))


def find_models(names: Sequence[str], base: BaseModel, say: Callable[[str], None], system_prompt: str | None = None) -> list[Model]:
    """The models called `names`, base first. 'all' stands for the base and every adapter, merge and whole model that was made on it.

    `system_prompt` is that of the evaluation; adapters that were trained under another are named to the person.
    """
    wanted: dict[Path | None, bool] = {}
    for name in names:
        if name == ALL:
            wanted |= {None: False} | {folder: False for folder in _on_disk() if folder not in wanted}
        else:
            wanted[None if name == BASE else _find(name)] = True
    models = []
    for folder, by_name in wanted.items():
        if folder is None:
            models.append(Model(results.Model(BASE, "base", "", base.name, base.content_hash), {}))
            continue
        try:
            _check_base(folder, base, by_name, say)
            models.append(_model(folder))
        except UserError as error:
            if by_name:
                raise
            say(f"Left out: {error}")
    _refuse_clashes(models)
    _compare_prompts([folder for model in models for folder in (*model.folders, model.alone) if folder], system_prompt, say)
    return sorted(models, key=lambda model: _ROLES.index(model.row.role))


def own_adapters(base: BaseModel, say: Callable[[str], None], system_prompt: str | None = None) -> Model:
    """Each category's own adapter, the newest of several, as one model called 'own'. Raises UserError where no category has one."""
    found = [model for model in find_models([ALL], base, say, system_prompt) if model.row.category and not model.alone]
    if not found:
        raise UserError(
            f"No category has an adapter of its own in {paths.adapters()}, so 'own' can't answer. "
            "Train some: python -m core train --categories each"
        )
    digest = hashlib.sha256("".join(sorted(model.row.content_hash for model in found)).encode()).hexdigest()[:16]
    return Model(results.Model(OWN, "own", "", "", digest), {}, by_category={model.row.category: model.mix for model in found})


def _on_disk() -> list[Path]:
    """Oldest first: of two own adapters of a category, readers of models.csv take the last for its own."""
    files = [file for root in (paths.adapters(), paths.merged_adapters()) for file in sorted(root.glob("*/adapter_config.json"))]
    files += sorted(paths.merged_adapters().glob(f"*/{paths.ROUTER}"))
    files += [file for file in sorted(paths.models().glob("*/config.json")) if adapter.read_info(file.parent)]
    return [file.parent.resolve() for file in sorted(files, key=lambda file: file.stat().st_mtime)]


def _find(name: str) -> Path:
    """The folder of a whole model (a name under models/, or a path), or else of a route or an adapter."""
    places = [paths.models() / name, paths.home() / name, Path(name).expanduser()]
    whole = next((place for place in places if alone.is_whole(place)), None)
    return (whole or routing.find(name) or adapter.find(name)).resolve()


def _model(folder: Path) -> Model:
    """The model in a folder. Raises UserError when it can neither join a bank nor stand alone."""
    if routing.is_route(folder):
        return _route(folder)
    info, apart = adapter.read_info(folder), alone.stands_alone(folder)
    mix = {} if apart else _mix(folder)
    for part in mix:
        adapter.read(part)
    categories = info.get("categories") or []
    role = info.get("role", "own")
    category = categories[0] if role == "own" and len(categories) == 1 else ""
    digest = model_hash(folder) if alone.is_whole(folder) else adapter.content_hash(folder)
    return Model(results.Model(folder.name, role, category, paths.shown(folder), digest), mix, folder if apart else None)


def _route(folder: Path) -> Model:
    """A route, with what each of its adapters is made of."""
    route = routing.load(folder)
    routed = tuple(_mix(place) for place in route.adapters)
    for part in {part for mix in routed for part in mix}:
        adapter.read(part)
    return Model(results.Model(folder.name, "route", "", paths.shown(folder), routing.content_hash(folder)), {}, route=route, routed=routed)


def _check_base(folder: Path, base: BaseModel, by_name: bool, say: Callable[[str], None]) -> None:
    """Another base is an error unless the adapter was asked for by its name; then, as with another quantisation, it is a warning."""
    if other := _other_base(folder, base):
        if not by_name:
            raise UserError(f"{folder.name} was made on {other}, not on {base.name}.")
        say(f"Careful: {folder.name} was made on {other}, but answers here on {base.name}.")
    made_with = adapter.read_info(folder).get("quantization") or base.quantization
    if made_with != base.quantization:
        say(f"Careful: {folder.name} was made with quantization={made_with}, but answers here with quantization={base.quantization}.")


def _compare_prompts(folders: Sequence[Path], system_prompt: str | None, say: Callable[[str], None]) -> None:
    """Adapters are at their best under the prompt that they were trained with."""
    configs = {folder.name: adapter.read_info(folder).get("config") or {} for folder in folders}
    prompts = {name: config["system_prompt"] for name, config in configs.items() if "system_prompt" in config}
    for trained_with in set(prompts.values()):
        if trained_with != system_prompt:
            names = [name for name, prompt in prompts.items() if prompt == trained_with]
            say(f"Careful: {', '.join(names)} trained with system_prompt={trained_with!r}, but answers here with {system_prompt!r}.")


def _other_base(folder: Path, base: BaseModel) -> str:
    """Name of the base that the adapter was made on, when it is another one; by content where that is known, else by name."""
    info = adapter.read_info(folder)
    written = {} if alone.is_whole(folder) or routing.is_route(folder) else adapter.read_config(folder)
    named = str(info.get("base_model") or written.get("base_model_name_or_path") or "")
    if info.get("base_hash"):
        same = info["base_hash"] == base.content_hash
    else:
        same = named in ("", base.name, base.hub_name) or Path(named).name == Path(base.hub_name).name
    return "" if same else named or "another base"


def _mix(folder: Path) -> dict[Path, float]:
    """An adapter is itself; a merge that was shipped without weights is the exact sum of its parents."""
    if (folder / adapter.WEIGHTS).exists():
        return {folder: 1.0}
    recipe = adapter.read_info(folder).get("recipe") or {}
    if not _is_exact_sum(recipe):
        raise UserError(
            f"{folder} has neither {adapter.WEIGHTS} nor the recipe of an exact weighted sum in its run.json, so there is nothing "
            "to evaluate. Copy its weights there, or merge again."
        )
    mix: dict[Path, float] = {}
    for name, weight, recorded in zip(recipe["adapters"], recipe["weights"], recipe["hashes"], strict=True):
        if weight == 0:
            continue
        parent = adapter.find(name).resolve()
        if adapter.content_hash(parent) != recorded:
            raise UserError(
                f"'{folder.name}' is a recipe without weights, and its adapter '{name}' has changed since it was merged. "
                "Merge again with replace=true."
            )
        for part, share in _mix(parent).items():
            mix[part] = mix.get(part, 0.0) + weight * share
    return mix


def _is_exact_sum(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe stands for what a bank's weights give: the sum of whole deltas, at a rank that cuts nothing off."""
    if recipe.get("strategy") not in ("linear", "cat") or recipe.get("space", "delta") != "delta":
        return False
    configs = [
        adapter.read_config(adapter.find(name)) for name, weight in zip(recipe["adapters"], recipe["weights"], strict=True) if weight
    ]
    whole = sum(max(config["r"], *(config.get("rank_pattern") or {"": 0}).values()) for config in configs)
    return recipe.get("rank") is None or recipe["rank"] >= whole


def _refuse_clashes(models: list[Model]) -> None:
    counts = Counter(model.row.model for model in models)
    for model in models:
        if counts[model.row.model] > 1:
            same = ", ".join(each.row.path for each in models if each.row.model == model.row.model)
            raise UserError(
                f"{counts[model.row.model]} models are called '{model.row.model}' ({same}), "
                "so their answers couldn't be told apart. Rename one."
            )
