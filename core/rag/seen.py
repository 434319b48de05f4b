"""Which questions the adapters that answer were trained on: a grid that asked them would show memory, not skill."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core import adapter
from core.answering.models import Model
from core.config import DataConfig
from core.data.read import read
from core.data.split import normalise
from core.errors import UserError

_READING = ("data", "question_column", "answer_column", "category_column")


def seen(questions: Sequence[str], models: Iterable[Model], say: Callable[[str], None]) -> set[str]:
    """Those of `questions` that stand in the train rows of an adapter that takes part in a model, as its run.json says.

    An adapter that doesn't say, or whose data is gone, is named to the person.
    """
    folders = dict.fromkeys(folder for model in models for part in model.folders for folder in _ancestors(part))
    asked = {normalise(question) for question in questions}
    trained: dict[tuple[tuple[str, Any], ...], set[str]] = {}
    unknown = []
    for folder in folders:
        config = adapter.read_info(folder).get("config") or {}
        if not config.get("data"):
            unknown.append(folder.name)
            continue
        key = tuple((name, config.get(name)) for name in _READING)
        try:
            if key not in trained:
                rows = read(DataConfig(**dict(key))).select("train")
                trained[key] = {question for row in rows if (question := normalise(row.question)) in asked}
        except UserError:
            unknown.append(folder.name)
    if unknown:
        say(f"Careful: it isn't known what {', '.join(unknown)} was trained on, so a question may have been seen in training.")
    known = set().union(*trained.values())
    return {question for question in questions if normalise(question) in known}


def _ancestors(folder: Path) -> Iterator[Path]:
    """The adapter, or what a merge was made of."""
    recipe = adapter.read_info(folder).get("recipe")
    if not recipe:
        yield folder
        return
    for name in recipe["adapters"]:
        yield from _ancestors(adapter.find(name).resolve())
