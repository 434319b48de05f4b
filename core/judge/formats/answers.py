"""Answers made elsewhere, as rows of model, category, question, reference and prediction.

AlpacaEval outputs (a file of one or several models, or a folder of such files), AlpacaEval annotations, and a CSV with one row per question
and one column per system. https://github.com/tatsu-lab/alpaca_eval
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.judge.formats.content import Content, read

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
        return [row for file in sorted(place.glob("*.json")) for row in _alpaca_eval(_records(read(file)), file.stem)]
    if place.suffix.lower() != ".csv":
        return list(_alpaca_eval(_records(read(place)), place.stem))
    systems = _systems(place)
    if not systems:
        return None
    records = _records(read(place))
    return [_answer(record, name.removesuffix("_prediction"), record[name]) for name in systems for record in records]


def _records(content: Content) -> list[dict[str, Any]]:
    return content if isinstance(content, list) else [content]


def _alpaca_eval(records: list[dict[str, Any]], name: str) -> Iterator[Answer]:
    if {"output_1", "output_2"} <= set(records[0]):
        for record in records:
            for side in "12":
                yield _answer(record, str(record.get(f"generator_{side}") or f"output_{side}"), record[f"output_{side}"])
    elif "output" in records[0]:
        for record in records:
            yield _answer(record, str(record.get("generator") or name), record["output"])
    else:
        raise UserError(
            f"{name} has no answers: it has {', '.join(records[0])[:300]}. Give an answers.csv, AlpacaEval outputs (instruction, output, "
            "generator), or a CSV with a question and a column for each system."
        )


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


def _answer(record: dict[str, Any], model: str, prediction: Any) -> Answer:
    question, reference = _first(record, QUESTIONS), _first(record, REFERENCES)
    category = _first(record, CATEGORIES) or UNSORTED
    return {"model": model, "category": category, "question": question, "reference": reference, "prediction": str(prediction or "")}


def _first(record: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((str(record[name]) for name in names if record.get(name) not in (None, "")), "")
