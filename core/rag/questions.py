"""What is asked: one typed question, a file of questions, or BEIR's queries, each with what is known of where its answer stands."""

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import paths
from core.config import RagConfig
from core.data import formats
from core.errors import UserError, shown
from core.results import ALL, GENERAL, OTHERS
from core.wording import listed

TYPED, FILE, GENERATED = "typed", "file", "generated"
ONE_CATEGORY = "general"
"""The category of questions that name none."""
TEMPLATES = (
    "Please tell me: {question}",
    "I would like to know the following. {question}",
    "Here is a question. {question}",
    "{question} Please explain.",
    "Someone asked me this: {question} What is the answer?",
)
"""Other words for the same question, where the file brings none."""
_TEXT, _ID = ("question", "query", "text"), ("_id", "id", "question_id")
_BETWEEN = " | "
_GRADE = re.compile(r"[+-]?[0-9]{1,6}")
RESERVED = (ALL, OTHERS, GENERAL)
"""Words that stand for something else where a category is named."""


@dataclass(frozen=True)
class Asked:
    """One question."""

    id: str
    question: str
    answer: str = ""
    """Reference; empty: none known."""
    category: str = ONE_CATEGORY
    source: str = TYPED
    """typed, file, or generated."""
    gold_documents: tuple[str, ...] = ()
    """Documents that hold the answer."""
    gold_passages: tuple[str, ...] = ()
    """What holds it: labels, each of the paragraph that begins with `[label]`, or quoted text."""
    paraphrases: tuple[str, ...] = ()

    def reworded(self, number: int) -> list[str]:
        """The question in `number` other wordings: its own paraphrases, then templates."""
        made = [template.format(question=self.question) for template in TEMPLATES]
        return [text for text in dict.fromkeys([*self.paraphrases, *made]) if text != self.question][:number]


def read_questions(config: RagConfig) -> list[Asked]:
    """The typed question and those of the file; with qrels only what they judge. Raises UserError for what can't be read."""
    typed = _text(config.question)
    asked = [Asked(TYPED, typed)] if typed else []
    if config.questions:
        asked += _judged(_of_file(config.questions), config)
    if not asked and not config.generate_questions:
        raise UserError(
            "There is no question. Type one with question, name a file with questions, or let the base model write some with "
            "generate_questions."
        )
    check_ids(asked)
    return asked


def check_ids(asked: Sequence[Asked]) -> None:
    """Raises UserError where two questions have one id, so that their rankings would be taken for each other."""
    twice = [name for name, count in Counter(each.id for each in asked).items() if count > 1]
    if twice:
        raise UserError(
            f"Two questions have the id '{shown(twice[0])}'. Give each its own; '{TYPED}' and '{GENERATED}-1', ... are taken by the typed "
            "question and by generated ones."
        )


def _judged(asked: list[Asked], config: RagConfig) -> list[Asked]:
    """All questions; with qrels those that they judge, as BEIR does: its queries.jsonl holds those of all splits."""
    if not config.qrels:
        return asked
    judged = read_qrels(config.qrels)
    kept = [each for each in asked if each.id in judged]
    if not kept:
        raise UserError(
            f"qrels={shown(config.qrels)} judges none of the {len(asked)} questions of '{config.questions}': it names "
            f"{listed([shown(name, 20) for name in judged], 3)}, and they are {listed([shown(each.id, 20) for each in asked], 3)}. "
            "Give the qrels of these questions."
        )
    return kept


# --- files of questions -----------------------------------------------------------------------------------------------


def _of_file(name: str) -> list[Asked]:
    table = formats.load(name)
    if table.dropped:
        reason, drop = next(iter(table.dropped.items()))
        raise UserError(f"{table.place.capitalize()} {drop.places[0]} of '{name}' can't be read: {reason}. Mend or delete it.")
    return [_asked(record, f"{table.place} {place}", name, number) for number, (place, record) in enumerate(table.records, 1)]


def _asked(record: Mapping[str, Any], place: str, name: str, number: int) -> Asked:
    values = {key.strip().casefold(): value for key, value in record.items() if isinstance(key, str)}
    question = next((text for key in _TEXT if (text := _text(values.get(key)))), "")
    if not question:
        have = ", ".join(shown(key, 30) for key in record) or "no columns"
        raise UserError(f"In '{name}', {place} has no question (it has {have}). Give it a column 'question'; 'query' and 'text' will do.")
    category = _text(values.get("category")) or ONE_CATEGORY
    if category in RESERVED:
        raise UserError(f"In '{name}', {place} has the category '{category}', which stands for something else in tables. Rename it.")
    return Asked(
        id=next((text for key in _ID if (text := _text(values.get(key)))), f"q{number}"),
        question=question,
        answer=_text(values.get("answer")),
        category=category,
        source=FILE,
        gold_documents=_several(values, "gold_document"),
        gold_passages=_several(values, "gold_passage"),
        paraphrases=_several(values, "paraphrase"),
    )


def _text(value: Any) -> str:
    """Text or a number as text, without halves of characters; anything else is empty, as a missing value is."""
    if not isinstance(value, str | int | float) or isinstance(value, bool) or value != value:
        return ""
    return str(value).encode("utf-8", "replace").decode().strip()


def _several(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list under the name or its plural; or text: under the plural it may hold a list as JSON, or parts between ' | '."""
    one, several = values.get(name), values.get(f"{name}s")
    if isinstance(one, str) and (text := _text(one)):
        return (text,)
    value = one if one is not None and _text(one) != "" or isinstance(one, list | tuple) else several
    if isinstance(value, str):
        value = _listed(value)
    parts: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    return tuple(text for part in parts if (text := _text(part)))


def _listed(value: str) -> list[Any]:
    if value.lstrip().startswith("["):
        with suppress(ValueError):
            found = json.loads(value)
            if isinstance(found, list):
                return found
    return list(value.split(_BETWEEN))


# --- relevance judgements ---------------------------------------------------------------------------------------------


def read_qrels(name: str) -> dict[str, dict[str, int]]:
    """Grades by question and document: TREC (query 0 document grade) or BEIR (query-id, corpus-id, score, between tabs)."""
    path = paths.data_file(name)
    if not path.is_file():
        raise UserError(f"There is no file qrels={shown(name)}. Give a file of relevance judgements, in TREC's or BEIR's form.")
    qrels: dict[str, dict[str, int]] = {}
    for number, (question, document, grade) in _lines(path):
        if not _GRADE.fullmatch(grade):
            raise UserError(f"Line {number} of '{name}' has the grade '{shown(grade, 30)}', which is no small whole number. Mend it.")
        if qrels.setdefault(question, {}).setdefault(document, int(grade)) != int(grade):
            raise UserError(
                f"Line {number} of '{name}' grades '{shown(document, 60)}' for '{shown(question, 60)}' a second time. Keep one."
            )
    if not qrels:
        raise UserError(f"'{name}' holds no relevance judgement. Give one to a line: query, 0, document, grade.")
    return qrels


def _lines(path: Path) -> list[tuple[int, tuple[str, str, str]]]:
    """(line, (query, document, grade)); a first line that names the columns is passed over."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"'{path}' is no UTF-8 text. Give relevance judgements in TREC's or BEIR's form.") from None
    found = []
    for number, line in enumerate(lines, 1):
        parts = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE)) if "\t" in line else line.split()
        parts = [part.strip() for part in parts]
        if len(parts) == 4:
            parts = [parts[0], *parts[2:]]
        if len(parts) == 3 and not (number == 1 and parts[2].casefold() in ("score", "grade", "relevance")):
            found.append((number, (parts[0], parts[1], parts[2])))
        elif len(parts) != 3 and line.strip():
            raise UserError(
                f"Line {number} of '{path}' has {len(parts)} parts. Relevance judgements have four (query 0 document grade) or three "
                "(query-id, corpus-id and score between tabs)."
            )
    return found
