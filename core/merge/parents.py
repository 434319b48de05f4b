"""The adapters of a merge: found, read, and held against each other before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import adapter
from core.adapter import Adapter
from core.config import MergeConfig
from core.errors import UserError
from core.merge import APART
from core.merge.layer import Layer


@dataclass(frozen=True)
class Parent:
    """One adapter of a merge."""

    name: str
    """As the person gave it."""
    folder: Path
    weight: float
    content_hash: str
    adapter: Adapter


def find(names: Sequence[str], weights: Sequence[float]) -> list[tuple[str, Path, float]]:
    """Name, folder and weight of each adapter; no weights: 1/n each. Refuses repeats and all zeros."""
    weights = weights or [1 / len(names)] * len(names)
    found: dict[Path, str] = {}
    for name in names:
        folder = adapter.find(name).resolve()
        if folder in found:
            raise UserError(f"'{name}' and '{found[folder]}' are the same adapter. Name it once and give it the sum of the weights.")
        found[folder] = name
    if not any(weights):
        raise UserError("All weights are 0, so the merge would be the base model. Give at least one adapter a weight other than 0.")
    return [(name, folder, weight) for (folder, name), weight in zip(found.items(), weights, strict=True)]


def apart(config: MergeConfig) -> bool:
    """Whether A and B are combined apart, as PEFT does."""
    return config.space == "factor" and config.strategy in APART


def takes_part(config: MergeConfig, weight: float) -> bool:
    """Weight 0 is off, except where PEFT is followed, which lets such adapters vote on signs."""
    return weight != 0 or apart(config)


def check(parents: Sequence[Parent]) -> list[str]:
    """Refuse adapters of different base models or shapes; return warnings about what may be wrong."""
    warnings = []
    first = parents[0]
    for other in parents[1:]:
        warnings += _compare_bases(first, other)
        if other.content_hash in [each.content_hash for each in parents[: parents.index(other)]]:
            warnings.append(f"'{other.name}' holds the same delta as another adapter of this merge, so that delta counts twice.")
    for layer in by_layer(parents):
        having = [parent.name for parent in parents if layer.name in parent.adapter.factors]
        shapes = {name: (factor.B.shape[0], factor.A.shape[1]) for name, factor in zip(having, layer.factors, strict=True)}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{name}: {out} x {into}" for name, (out, into) in shapes.items())
            raise UserError(
                f"The adapters don't fit together: layer {layer.name} has different shapes ({listed}). They need the same base model."
            )
    return warnings


def has_rslora(parent: Parent) -> bool:
    """Whether the adapter's folder says rsLoRA, whose scaling PEFT hands on to a merge that begins with it."""
    return bool(adapter.read_config(parent.folder).get("use_rslora"))


def check_factor_space(config: MergeConfig, parents: Sequence[Parent]) -> list[str]:
    """Warnings about what PEFT gets wrong, where it is followed."""
    first = parents[0]
    if not apart(config) or not has_rslora(first):
        return []
    return [
        f"'{first.name}' has rsLoRA. PEFT makes a merge that begins with it {first.adapter.rank**0.5:.1f} times too strong (sqrt(r)), and "
        "space=factor follows PEFT. space=delta gets it right."
    ]


def by_layer(parents: Sequence[Parent]) -> list[Layer]:
    """The layers of all adapters, each with those that have it."""
    layers: dict[str, list[Parent]] = {}
    for parent in parents:
        for layer in parent.adapter.factors:
            layers.setdefault(layer, []).append(parent)
    return [
        Layer(
            layer,
            [each.adapter.factors[layer] for each in having],
            [each.weight for each in having],
            [each.content_hash for each in having],
        )
        for layer, having in layers.items()
    ]


def _compare_bases(one: Parent, other: Parent) -> list[str]:
    """A base model is known by the hash of its weights, where Lyceum recorded it, else by its name."""
    names = f"'{one.name}' was trained on '{one.adapter.base_model}' and '{other.name}' on '{other.adapter.base_model}'"
    same_name = one.adapter.base_model == other.adapter.base_model
    hashes = {each.adapter.info["base_hash"] for each in (one, other) if each.adapter.info.get("base_hash")}
    known = all(each.adapter.info.get("base_hash") for each in (one, other))
    if known and len(hashes) > 1 and not same_name:
        raise UserError(
            f"{names}, which have different weights. A delta only means something on its own base: merge adapters of one base model."
        )
    warnings = []
    if len(hashes) > 1 and same_name:
        warnings.append(f"{names}, but the weights of the two differ (another version or precision): check the merge's answers.")
    if not same_name and not (known and len(hashes) == 1):
        warnings.append(f"{names}. If these are not the same model, the merge means nothing.")
    quantizations = [_quantization(each) for each in (one, other)]
    if None not in quantizations and quantizations[0] != quantizations[1]:
        warnings.append(f"'{one.name}' was trained with quantization={quantizations[0]} and '{other.name}' with {quantizations[1]}.")
    return warnings


def _quantization(parent: Parent) -> Any:
    return parent.adapter.info.get("quantization")
