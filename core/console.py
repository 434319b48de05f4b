"""What the live console plays: a mix of adapters, the questions that it answers, and both as a link.

Light: nothing here touches a model. A mix is a MergeConfig without the fields that only baking needs.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core import paths, read_only
from core.config import MergeConfig
from core.errors import UserError
from core.merge import STRATEGIES

BAKED = ("recipe", "dtype", "name", "replace")
"""Fields of a MergeConfig that don't change how the mix answers."""
PLAYED = tuple(name for name in MergeConfig.model_fields if name not in BAKED)
FIRST_DENSITY = 0.5
"""Density that a strategy begins with when it needs one."""
OTHERS = ("data", "system_prompt", "max_new_tokens", "limit")
"""What else a link holds, where it differs from the adapters' own settings."""


@dataclass(frozen=True)
class Question:
    """A pinned question. The category chooses its own adapter and stands in the system prompt."""

    category: str
    question: str


@dataclass(frozen=True)
class Play:
    """All that the console's answers and losses depend on."""

    mix: MergeConfig | None = None
    """None while no adapter is chosen."""
    questions: tuple[Question, ...] = ()
    data: str = "data/seven_schools.jsonl"
    system_prompt: str | None = None
    max_new_tokens: int = 64
    limit: int = 4
    """Validation rows per category for the losses."""
    max_seq_length: int = 512


@dataclass(frozen=True)
class Shelf:
    """The adapters at hand, oldest first, by what their run.json says; nothing is known of a folder made elsewhere."""

    infos: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def own(self) -> dict[str, str]:
        """The adapter of each category; the newest when there are several."""
        one = {name: info["categories"] for name, info in self.infos.items() if info.get("role", "own") == "own" and info.get("categories")}
        return {categories[0]: name for name, categories in one.items() if len(categories) == 1}

    @property
    def pooled(self) -> str | None:
        """The newest adapter that was trained on everything."""
        found = [name for name, info in self.infos.items() if info.get("role") == "pooled"]
        return found[-1] if found else None

    @property
    def to_mix(self) -> list[str]:
        """Those that a first mix is made of: all but the pooled ones, by name."""
        return sorted(name for name, info in self.infos.items() if info.get("role") != "pooled")

    def usual(self, setting: str, names: Iterable[str], default: Any) -> Any:
        """What most of these adapters were trained with; the default where none says."""
        configs = [self.infos.get(name, {}).get("config") or {} for name in names]
        said = Counter(json.dumps(config[setting]) for config in configs if setting in config)
        return json.loads(said.most_common(1)[0][0]) if said else default

    def base_model(self, names: Iterable[str]) -> str:
        """The base model that most of these adapters stand on."""
        said = Counter(str(self.infos[name]["base_model"]) for name in names if self.infos.get(name, {}).get("base_model"))
        return said.most_common(1)[0][0] if said else "bundled"


def shelf() -> Shelf:
    """The adapters under adapters/."""
    return Shelf(_by_age(paths.adapters()))


def _by_age(root: Path) -> dict[str, dict[str, Any]]:
    """run.json of every adapter in a folder, oldest first: run ids sort by time. Folders made elsewhere come before them."""
    infos = {file.parent.name: info(file.parent) for file in sorted(root.glob("*/adapter_config.json"))}
    return dict(sorted(infos.items(), key=lambda item: str(item[1].get("run_id", ""))))


def info(folder: Path) -> dict[str, Any]:
    """run.json of an adapter's folder, what can be read of it; empty for a folder made elsewhere."""
    try:
        said = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    known = dict(said) if isinstance(said, dict) else {}
    kinds = {"categories": list, "config": dict}
    return {name: value for name, value in known.items() if isinstance(value, kinds.get(name, object))}


def baked() -> list[str]:
    """The merged adapters, newest first."""
    return list(reversed(_by_age(paths.merged_adapters())))


def played(config: MergeConfig) -> MergeConfig:
    """The mix alone: without what only baking needs."""
    return config.model_copy(update={name: MergeConfig.model_fields[name].default for name in BAKED})


def alone(adapter: str) -> MergeConfig:
    """One adapter as a mix."""
    return MergeConfig(adapters=(adapter,), weights=(1.0,))


def request(mix: MergeConfig | None) -> dict[str, Any] | None:
    """The mix as the engine takes it; None is the base model."""
    return mix.model_dump(mode="json", include=set(PLAYED)) if mix else None


def weights_of(mix: MergeConfig) -> dict[str, float]:
    """Weight by adapter; no weights stand for 1/n each."""
    return dict(zip(mix.adapters, mix.weights or (1 / len(mix.adapters),) * len(mix.adapters), strict=True))


def presets(mix: Sequence[str], own: Mapping[str, str], questions: Sequence[Question], most: int = 12) -> dict[str, MergeConfig]:
    """Mixes by what they are called: even, full strength, one adapter, the own adapter of a pinned question, and those that were baked."""
    names = tuple(mix)
    found: dict[str, MergeConfig] = {}
    if names:
        found["Even: 1/n each"] = MergeConfig(adapters=names)
        found["Full strength: 1 each"] = MergeConfig(adapters=names, weights=(1.0,) * len(names))
    for place, question in enumerate(questions, 1):
        if (name := own.get(question.category)) in names:
            found[f"Own adapter of question {place}: {name}"] = _one_hot(names, str(name))
    for name in names[:most]:
        found[f"Only {name}"] = _one_hot(names, name)
    return found | {f"As baked: {name}": again for name in baked()[:most] if (again := of_baked(name))}


def of_baked(name: str) -> MergeConfig | None:
    """The mix that a merged adapter was baked from; None for a folder made elsewhere."""
    known = info(paths.merged_adapters() / name)
    recipe = known.get("recipe") or {}
    asked = {**recipe, **(known.get("config") or {})}  # as it was asked for: a recipe's rank may be what came out
    asked |= {key: recipe[key] for key in ("adapters", "weights") if key in recipe}
    fields = {key: asked[key] for key in PLAYED if asked.get(key) is not None} if recipe else {}
    try:
        return MergeConfig(**fields) if fields else None
    except (UserError, ValidationError):  # made by a version with other rules
        return None


def _one_hot(names: tuple[str, ...], chosen: str) -> MergeConfig:
    return MergeConfig(adapters=names, weights=tuple(float(name == chosen) for name in names))


def to_link(play: Play, usual: Play) -> dict[str, str | list[str]]:
    """The query parameters of a state: what differs from a mix's defaults and from `usual`."""
    link: dict[str, str | list[str]] = {}
    for name in PLAYED:
        value = getattr(play.mix, name) if play.mix else MergeConfig.model_fields[name].default
        if value != MergeConfig.model_fields[name].default:
            link[name] = _listed(value) if isinstance(value, tuple) else _word(value)
    for name in OTHERS:
        if getattr(play, name) != getattr(usual, name):
            link[name] = _word(getattr(play, name) or "")
    if play.questions:
        link["category"] = [question.category or "-" for question in play.questions]
        link["question"] = [question.question for question in play.questions]
    return link


def from_link(params: Mapping[str, Sequence[str]], usual: Play) -> Play:
    """The state that a link describes; `params`: each parameter's values. Raises UserError where it can't be read."""
    single = {name: values[-1] for name, values in params.items() if values}
    try:
        mix = MergeConfig(**{name: single[name] for name in PLAYED if name in single})
        others: dict[str, Any] = {name: single[name] for name in OTHERS if name in single}
        for name in ("max_new_tokens", "limit"):
            if name in others:
                others[name] = max(1, int(others[name]))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UserError(f"This link can't be read: {where}: {problem['msg']}. Choose the mix below instead.") from None
    except ValueError as error:
        raise UserError(f"This link can't be read: {error}. Choose the mix below instead.") from None
    if others.get("system_prompt") == "":
        others["system_prompt"] = None
    categories, texts = params.get("category", []), params.get("question", [])
    asked = tuple(Question("" if category == "-" else category, text) for category, text in zip(categories, texts, strict=False))
    return replace(usual, mix=mix, questions=asked or usual.questions, **others)


def _listed(values: tuple[Any, ...]) -> str:
    """With commas between, or as JSON where a value has one itself."""
    words = [_word(value) for value in values]
    return json.dumps(words) if any("," in word for word in words) else ",".join(words)


def _word(value: Any) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def needs_density(strategy: str) -> bool:
    """Whether a strategy drops entries."""
    return "density" in STRATEGIES[strategy].fields


def pinned() -> list[Question]:
    """The questions that were pinned last, whoever opens the page."""
    if not (file := _pins()).exists():
        return []
    return [Question(**each) for each in json.loads(file.read_text(encoding="utf-8"))]


def pin(questions: Sequence[Question]) -> None:
    """Keep the pinned questions."""
    read_only.refuse("Keeping questions")
    file = _pins()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.write_text(json.dumps([asdict(each) for each in questions], ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, file)


def _pins() -> Path:
    return paths.results() / ".pinned_questions.json"
