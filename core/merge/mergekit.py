"""mergekit's YAML files, for the strategies that both have (arcee-ai/mergekit, docs/merge_methods.md and merge_methods/).

A model is `base+adapter`, or an adapter alone; entries of the base model itself add nothing. mergekit divides by the sum of the weights
where `normalize` says so: here that goes into the weights, whose sum is the strength of every strategy. So linear, task_arithmetic,
breadcrumbs, sce and normalized ties are the same to rounding. dare_* and della draw their random entries otherwise, and rescale by the
chance of an entry instead of the sum of the entries that were left. Methods that elect signs and don't normalize (dare_ties unless told
to) give mergekit's result where no adapter is outvoted; elsewhere the mean here is stronger than its sum.
What changes nothing here is passed over: int8_mask among the parameters, and tokenizer, tokenizer_source and name beside them, for an
adapter has the tokenizer of its base model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from core.errors import UserError, shown


@dataclass(frozen=True)
class Method:
    """A merge_method of mergekit."""

    strategy: str
    """The same here."""
    parameters: tuple[str, ...] = ()
    """What it reads beside the weight."""
    normalize: bool = False
    """Divides by the sum of the weights, unless told otherwise."""
    rescale: bool = False
    """Makes up for dropped entries, unless told otherwise; here always or never."""
    elects: bool = False


METHODS = {
    "linear": Method("linear", normalize=True),
    "task_arithmetic": Method("linear"),
    "ties": Method("ties", ("density",), normalize=True, elects=True),
    "dare_ties": Method("dare_ties", ("density",), rescale=True, elects=True),
    "dare_linear": Method("dare_linear", ("density",), rescale=True),
    "della": Method("della", ("density", "epsilon"), normalize=True, rescale=True, elects=True),
    "breadcrumbs": Method("breadcrumbs", ("density", "gamma")),
    "sce": Method("sce", ("select_topk",), normalize=True),
}
FIELDS = {
    "density": ("density", 1.0, 1.0),
    "select_topk": ("density", 1.0, 1.0),
    "epsilon": ("della_epsilon", 2.0, 0.15),
    "gamma": ("breadcrumbs_gamma", 1.0, 0.01),
}
"""A parameter's field here, how many of its units one there is (epsilon is half of the paper's window), and its default there."""
_EVERYWHERE = ("weight", "normalize", "rescale", "lambda", "int8_mask")
_TOP = ("merge_method", "models", "base_model", "parameters", "dtype", "out_dtype", "tokenizer", "tokenizer_source", "name")
_DTYPES = {"float32": "fp32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Model:
    """An entry of `models`."""

    adapter: str
    """Empty: the base model itself."""
    parameters: Mapping[str, Any]
    """Its own, and those for all."""


def read(file: Path, said: Mapping[str, Any], say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """The fields of a MergeConfig. Raises UserError for what has no counterpart here; says what is only nearly the same."""
    name = said.get("merge_method")
    if not isinstance(name, str) or name not in METHODS:
        raise UserError(f"{file}: merge_method '{shown(name)}' has no counterpart here. Use one of: {', '.join(METHODS)}.")
    for part in ("slices", "modules"):
        if part in said:
            raise UserError(f"{file} puts models together from {part}, which adapters can't. List whole models under 'models'.")
    if unknown := sorted(shown(key) for key in said if key not in _TOP):
        raise UserError(f"{file}: {shown(', '.join(unknown), 200)} has no counterpart here. Remove it.")
    method, shared, models = METHODS[name], _mapping(file, said, "parameters"), _models(file, said)
    _check(file, name, [shared, *(model.parameters for model in models)])
    if method.elects and not _flag(file, "normalize", shared.get("normalize", method.normalize)):
        say(f"mergekit's {name} adds up the adapters that agree; here they are averaged: stronger where one is outvoted, else the same.")
    return {
        "strategy": method.strategy,
        "adapters": [model.adapter for model in models if model.adapter],
        "weights": _weights(file, name, shared, models),
        **{FIELDS[key][0]: FIELDS[key][1] * _one(file, key, models) for key in method.parameters},
        **_dtype(file, said),
    }


def _dtype(file: Path, said: Mapping[str, Any]) -> dict[str, str]:
    """The precision of the saved adapter: out_dtype, or else dtype."""
    given = {key: said[key] for key in ("dtype", "out_dtype") if said.get(key) is not None}
    for key, value in given.items():
        if not isinstance(value, str) or value not in _DTYPES:
            raise UserError(f"{file}: {key}: {shown(value)} has no counterpart here. Use one of: {', '.join(_DTYPES)}.")
    return {"dtype": _DTYPES[list(given.values())[-1]]} if given else {}


def _models(file: Path, said: Mapping[str, Any]) -> list[Model]:
    """The entries of `models`. Raises UserError unless all stand on one base model, and one at least is an adapter."""
    listed, shared = said.get("models"), _mapping(file, said, "parameters")
    if not isinstance(listed, list) or not all(isinstance(each, dict) and isinstance(each.get("model"), str) for each in listed):
        raise UserError(f"{file} lists no models. Write each under 'models' as model: base+adapter.")
    if not isinstance(said.get("base_model"), str | None):
        raise UserError(f"{file}: base_model should be a name, not {shown(said['base_model'])}. Correct the file.")
    parts = [each["model"].partition("+") for each in listed]
    bases = {base for base, plus, _ in parts if plus} | ({said["base_model"]} if said.get("base_model") else set())
    if len(bases) > 1:
        raise UserError(
            f"{file} names several base models ({shown(', '.join(sorted(bases)), 200)}). Adapters of one base model can be merged."
        )
    names = [adapter if plus else "" if base in bases else base for base, plus, adapter in parts]
    if not any(names):
        raise UserError(f"{file} lists no adapter under 'models'. Write them as base+adapter, or as the adapter's folder.")
    return [Model(name, {**shared, **_mapping(file, each, "parameters")}) for name, each in zip(names, listed, strict=True)]


def _check(file: Path, name: str, parameters: list[Mapping[str, Any]]) -> None:
    """Refuse what has no counterpart in this method here."""
    method = METHODS[name]
    understood = [key for key in (*_EVERYWHERE, *method.parameters) if (name, key) != ("sce", "weight")]
    if unknown := {shown(key) for each in parameters for key in each if key not in understood}:
        raise UserError(f"{file}: {shown(', '.join(sorted(unknown)), 200)} has no counterpart in {name} here. Remove it.")
    for each in parameters:
        if method.parameters and _flag(file, "rescale", each.get("rescale", method.rescale)) != method.rescale:
            raise UserError(f"{file}: {name} with rescale: {str(each['rescale']).lower()} has no counterpart here. Remove that line.")


def _weights(file: Path, name: str, shared: Mapping[str, Any], models: list[Model]) -> list[float]:
    """The weights of the adapters by which our strategy does what mergekit's method does."""
    method, normalize = METHODS[name], _flag(file, "normalize", shared.get("normalize", METHODS[name].normalize))
    numbers = [_number(file, "weight", model.parameters.get("weight", 1.0)) for model in models]
    own = [number for number, model in zip(numbers, models, strict=True) if model.adapter]
    total = sum(numbers) if name == "linear" else sum(own)
    if name == "linear" and not normalize and abs(total - 1) > 1e-6:
        raise UserError(f"{file}: the weights add up to {total:g}, so without normalize the base model itself would be scaled. Make it 1.")
    if method.elects and normalize and min(own) < 0:
        raise UserError(
            f"{file}: {name} divides by the weights, which turns negative ones around. Say normalize: false, or leave them out."
        )
    if normalize and total == 0:
        raise UserError(f"{file}: the weights add up to 0, so they can't be normalized. Say normalize: false.")
    strength = _number(file, "lambda", shared.get("lambda", 1.0))
    return [strength * weight / (total if normalize else 1.0) for weight in own]


def _one(file: Path, key: str, models: list[Model]) -> float:
    """A parameter that must be the same for all adapters here."""
    values = {_number(file, key, model.parameters.get(key, FIELDS[key][2])) for model in models if model.adapter}
    if len(values) > 1:
        raise UserError(f"{file} gives {key} as {', '.join(map(str, sorted(values)))} for different models; here it is one for all.")
    return values.pop()


def _number(file: Path, key: str, value: Any) -> float:
    """A number, also one that YAML takes for text, such as 1e30."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not isfinite(number):
        written = f"'{shown(value)}'" if isinstance(value, str) else shown(value)
        raise UserError(f"{file}: {key}={written} is no single number; gradients over layers have no counterpart here.")
    return number


def _flag(file: Path, key: str, value: Any) -> bool:
    if not isinstance(value, int | float) or value not in (0, 1):
        raise UserError(f"{file}: {key}: {shown(value)} is neither true nor false. Correct the file.")
    return bool(value)


def _mapping(file: Path, said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = said.get(key) or {}
    if not isinstance(value, dict):
        raise UserError(f"{file}: {key} should be names with values, not {shown(value)}. Correct the file.")
    return value
