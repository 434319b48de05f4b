"""Answers made elsewhere, as rows of model, category, question, reference and prediction.

AlpacaEval outputs (a file of one or several models, or a folder of such files), AlpacaEval annotations, and a CSV with one row per question
and one column per system. https://github.com/tatsu-lab/alpaca_eval
"""

import csv
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.judge.formats.content import Content, read
from core.judge.formats.record import BadRecord, each, text

QUESTIONS = ("question", "instruction", "prompt", "input")
REFERENCES = ("reference", "answer", "ground_truth")
CATEGORIES = ("category", "dataset", "subject")
SYSTEMS = (
    ("base_prediction", "fine_tuned_prediction"),
    ("base_prediction", "candidate_prediction"),
    ("output_1", "output_2"),
    ("answer_a", "answer_b"),
    ("response_a", "response_b"),
)
"""Columns that are known to hold two systems' answers; where there are none, every column that is nothing else is a system's."""
UNSORTED = "all"
"""The category of answers without one."""

Answer = dict[str, str]


def foreign(place: Path) -> list[Answer] | None:
    """Rows of answers; None for a CSV that isn't one of several systems. Raises UserError for JSON that holds no answers."""
    if place.is_dir():
        return [row for file in sorted(place.glob("*.json")) for row in _alpaca_eval(file)]
    if place.suffix.lower() != ".csv":
        return _alpaca_eval(place)
    systems = _systems(place)
    if not systems:
        return None
    records = _records(read(place))
    return [_answer(record, name.removesuffix("_prediction"), name) for name in systems for record in records]


def _records(content: Content) -> list[dict[str, Any]]:
    return content if isinstance(content, list) else [content]


def _alpaca_eval(file: Path) -> list[Answer]:
    records = _records(read(file))
    kinds = {"output_1": _both, "output": lambda record: [_answer(record, text(record, "generator", file.stem), "output")]}
    reader = next((kinds[key] for key in kinds if key in records[0]), None)
    if reader is None:
        raise UserError(
            f"{file.stem} has no answers: it has {', '.join(records[0])[:300]}. Give an answers.csv, AlpacaEval outputs (instruction, "
            "output, generator), or a CSV with a question and a column for each system."
        )
    try:
        return list(each(records, reader))
    except BadRecord as error:
        raise UserError(f"{file} can't be read as AlpacaEval's answers: {error}. Mend the record, or give another file.") from None


def _both(record: dict[str, Any]) -> list[Answer]:
    """Of an annotation the answers of both sides."""
    return [_answer(record, text(record, f"generator_{side}", f"output_{side}"), f"output_{side}") for side in "12"]


def _systems(file: Path) -> tuple[str, ...]:
    """The columns of a CSV that hold a system's answers each; none where it has no questions, fewer than two, or Lyceum's own columns."""
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
        columns = next(csv.reader(opened), [])
    if "prediction" in columns or not set(QUESTIONS) & set(columns):
        return ()
    known = {name for names in (QUESTIONS, REFERENCES, CATEGORIES) for name in names}
    others = tuple(name for name in columns if name not in known)
    systems = next((names for names in SYSTEMS if set(names) <= set(columns)), others)
    return systems if len(systems) > 1 else ()


def _answer(record: dict[str, Any], model: str, key: str) -> Answer:
    question, reference = _first(record, QUESTIONS), _first(record, REFERENCES)
    category = _first(record, CATEGORIES) or UNSORTED
    return {"model": model, "category": category, "question": question, "reference": reference, "prediction": text(record, key)}


def _first(record: dict[str, Any], names: tuple[str, ...]) -> str:
    return next(filter(None, (text(record, name, "") for name in names)), "")
