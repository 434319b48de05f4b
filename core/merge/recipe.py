"""Recipes: the part of a merge's run.json that makes it again, and mergekit's YAML files read as such.

A recipe names its adapters with their content hashes. On one machine, with the same versions, it gives the same bits.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from core import adapter, paths, peft_config
from core.adapter import Adapter
from core.config import MergeConfig
from core.errors import UserError, shown
from core.jobs.configure import configure
from core.merge import mergekit, parents
from core.merge.combine import combine, rounded
from core.merge.parents import Parent

SETTINGS = ("strategy", "space", "rank", "density", "ties_lambda", "della_epsilon", "breadcrumbs_gamma", "seed", "dtype")
"""Fields of the config that decide the result, beside adapters and weights."""
LARGEST = 1 << 20
"""Bytes of a recipe's file."""
OWN = ("name", "dtype", "replace")
"""Fields that may be given beside a recipe."""


def record(config: MergeConfig, everyone: Sequence[tuple[str, Path, float]]) -> dict[str, Any]:
    """What makes this merge again."""
    return {
        **config.model_dump(mode="json", include=set(SETTINGS)),
        "weights": [weight for _, _, weight in everyone],
        "adapters": [name for name, _, _ in everyone],
        "hashes": [adapter.content_hash(folder) for _, folder, _ in everyone],
    }


def read(config: MergeConfig, say: Callable[[str], None] = lambda _: None) -> MergeConfig:
    """The config that `config.recipe` stands for; name, dtype and replace are the config's own where it says them."""
    assert config.recipe is not None
    place = _find(config.recipe)
    mergekits = place.suffix in (".yml", ".yaml")
    said = mergekit.read(place, _yaml(place), say) if mergekits else _settings(_json(place), str(place))
    own = {name: getattr(config, name) for name in OWN if getattr(config, name) != MergeConfig.model_fields[name].default}
    made = configure("merge", {**said, **own})
    assert isinstance(made, MergeConfig)
    return made


def make(folder: Path) -> Adapter:
    """A merge that was shipped as its recipe alone, merged again from its adapters."""
    info = adapter.read_info(folder)
    config = configure("merge", _settings(info, folder.name))
    assert isinstance(config, MergeConfig)
    everyone = parents.find(config.adapters, config.weights)
    active = [parent(*each) for each in everyone if parents.takes_part(config, each[2])]
    factors = {layer: rounded(combined.factor, config.dtype, layer) for layer, combined in combine(active, config).items()}
    return Adapter(folder.name, factors, active[0].adapter.base_model, info)


def parent(name: str, folder: Path, weight: float) -> Parent:
    """An adapter of a merge, read; a merge without weights is made from its recipe."""
    alone = "recipe" in adapter.read_info(folder) and not (folder / adapter.WEIGHTS).exists()
    return Parent(name, folder, weight, adapter.content_hash(folder), make(folder) if alone else adapter.read(folder))


def _find(said: str) -> Path:
    """A YAML file, a run.json, or the run.json of a merged adapter."""
    for place in (paths.merged_adapters() / said / "run.json", paths.home() / said, Path(os.path.expanduser(said))):
        if peft_config.exists(place):
            file = place / "run.json" if place.is_dir() else place
            if file.is_file():
                return file
    known = ", ".join(sorted(file.parent.name for file in paths.merged_adapters().glob("*/run.json"))) or "none"
    raise UserError(f"There is no recipe '{shown(said)}': it is neither a merged adapter ({known}) nor a file. Check the name.")


def _settings(info: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of the merge, with its adapters as they are called now."""
    recipe = peft_config.recipe_of(info, where)
    pairs = zip(recipe["adapters"], recipe["hashes"], strict=True)
    settings = {name: recipe[name] for name in ("weights", *SETTINGS) if name in recipe}
    return {**settings, "adapters": [_known_as(name, digest, where) for name, digest in pairs]}


def _known_as(name: str, digest: str, where: str) -> str:
    """The name of the adapter with this content hash: its own, or another if it was renamed."""
    folders = [folder for shelf in (paths.adapters(), paths.merged_adapters()) for folder in sorted(shelf.glob("*/"))]
    for candidate in (name, *(folder.name for folder in folders)):
        with suppress(UserError, OSError):  # it is gone, or another folder is damaged or locked
            if adapter.content_hash(adapter.find(candidate)) == digest:
                return candidate
    raise UserError(
        f"{where} was merged from '{shown(name)}', which has changed or is gone since (its hash was {shown(digest)}). Merge anew instead."
    )


def _text(file: Path) -> str:
    size = file.stat().st_size
    if size > LARGEST:
        raise UserError(f"{file} has {size:,} bytes, and a recipe has at most {LARGEST:,}. Give a run.json or a mergekit YAML file.")
    return file.read_text(encoding="utf-8")


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no JSON ({error}). Give a merged adapter's run.json, or a mergekit YAML file.") from None
    return found if isinstance(found, dict) else {}


def _yaml(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(_text(file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is no YAML ({shown(' '.join(str(error).split()), 300)}). Correct the file.") from None
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no mergekit configuration: it should have merge_method and models. Correct the file.")
    return found
