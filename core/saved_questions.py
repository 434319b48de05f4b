"""Questions saved in the playground: a dataset of one's own under data/uploads of LYCEUM_HOME, for `evaluate --data`.

One JSON object a line: question, answer (the reference), category, model (whose answer it was; empty: typed) and saved_at.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from core import paths, read_only, runs, uploads
from core.data.read import RESERVED
from core.data.split import normalise
from core.errors import UserError, explained, shown

NAME = "saved_questions.jsonl"
LONGEST = 20_000
"""Characters of a text."""


def file() -> Path:
    """Where they stand; uploads are offered wherever data is chosen."""
    return uploads.folder() / NAME


def rows() -> list[dict[str, Any]]:
    """What was saved, in order."""
    try:
        return [json.loads(line) for line in file().read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        return []


def save(question: str, answer: str, category: str, model: str = "") -> Path:
    """Add a row at the end, in one step: a reader sees all of it or nothing.

    Raises UserError for an empty text, a category that can't be used, and a question that stands there already in this category.
    """
    read_only.refuse("Saving a question")
    row = {"question": question.strip(), "answer": answer.strip(), "category": category.strip()}
    for name, text in row.items():
        if not text or len(text) > LONGEST:
            why = f"has {len(text):,} characters, more than {LONGEST:,}" if text else "is empty"
            raise UserError(f"The {name} {why}, so nothing was saved. {'Shorten it.' if text else 'Write one.'}")
    place = file()
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f".{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _check(row, rows())
        _append(place, {**row, "model": model, "saved_at": runs.now()})
    return place


def _check(row: dict[str, str], before: list[dict[str, Any]]) -> None:
    category = row["category"]
    if category in RESERVED:
        raise UserError(f"'{category}' means something else where categories are named, so nothing was saved. Choose another category.")
    for each in before:
        if each["category"] == category and normalise(each["question"]) == normalise(row["question"]):
            raise UserError(
                f"'{shown(row['question'])}' is saved in category '{shown(category)}' already. Save it in another, or leave it."
            )
        if each["category"] != category and paths.slug(each["category"]) == paths.slug(category):
            raise UserError(
                f"The categories '{shown(each['category'])}' and '{shown(category)}' are too much alike. Use the first one's name."
            )


def _append(place: Path, row: dict[str, Any]) -> None:
    """The old content and the row under a temporary name, which then takes the file's."""
    temporary = place.with_name(f".{NAME}.{os.getpid()}")
    try:
        before = place.read_bytes() if place.exists() else b""
        temporary.write_bytes(before + json.dumps(row, ensure_ascii=False).encode() + b"\n")
        os.replace(temporary, place)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise explained(error) from None
