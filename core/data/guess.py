"""Which columns of an unknown table are probably question, answer and category: by their names in some languages, then by their texts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from core.data.columns import CATEGORY, PAIRS
from core.data.source import Table

NAMES = {
    "question": "question|questions|query|q|prompt|instruction|input|title|ask|frage|pregunta|pergunta|domanda|soru|질문|質問|问题|問題|вопрос|سؤال",
    "answer": "answer|answers|reply|response|a|output|completion|solution|antwort|respuesta|réponse|reponse|resposta|risposta|cevap|답변|回答|答え|答案|ответ|جواب",
    "category": "category|categories|topic|subject|label|class|domain|department|area|intent|tag|section|thema|kategorie|catégorie|categoría|categoria|kategori|분류|カテゴリ|类别|категория|فئة",
}
"""Names of columns, in English first. A name counts when it is one of these, or when one of its words is."""
LOOKED_AT = 200
"""Rows whose texts are looked at."""
MOST_CATEGORIES = 0.5
"""A category column has at most so many different values per row."""


@dataclass(frozen=True)
class Guess:
    """Columns by name; None where nothing fits."""

    question: str | None
    answer: str | None
    category: str | None


def guess(table: Table) -> Guess:
    """The probable columns. What the reader finds by name itself (core/data/columns.py) is found here too."""
    free = list(table.columns)
    rows = [row for _, row in islice(table.records, LOOKED_AT)]
    texts = {name: [str(row[name]).strip() for row in rows if _said(row.get(name))] for name in free}
    found: dict[str, str | None] = dict(_known_pair(free))
    for part in ("question", "answer", "category"):
        if not found.get(part):
            found[part] = _by_name(part, [name for name in free if name not in found.values()])
    for part, choose in (("category", _repeating), ("answer", _longest), ("question", _longest)):
        if not found[part]:
            found[part] = choose({name: texts[name] for name in free if name not in found.values()}, len(rows))
    return Guess(found["question"], found["answer"], found["category"])


def _known_pair(names: Sequence[str]) -> list[tuple[str, str]]:
    folded = {name.strip().casefold(): name for name in reversed(names)}
    found = next((pair for pair in PAIRS if set(pair) <= set(folded)), None)
    known = [("question", folded[found[0]]), ("answer", folded[found[1]])] if found else []
    return [*known, *([("category", folded[CATEGORY])] if CATEGORY in folded else [])]


def _by_name(part: str, names: Sequence[str]) -> str | None:
    wanted = NAMES[part].split("|")
    ranked = [(wanted.index(word), name) for name in names for word in {name.strip().casefold(), *_words(name)} if word in wanted]
    return min(ranked)[1] if ranked else None


def _words(name: str) -> list[str]:
    """'customerQuestion_text' -> customer, question, text."""
    return re.findall(r"\w+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").casefold())


def _repeating(texts: dict[str, list[str]], rows: int) -> str | None:
    """The column with the fewest different values, if they come again and again and are no numbers."""
    ranked = sorted((len(set(values)), name) for name, values in texts.items() if len(values) > rows / 2 and not _numbers(values))
    return next((name for different, name in ranked if 1 < different <= MOST_CATEGORIES * rows), None)


def _longest(texts: dict[str, list[str]], rows: int) -> str | None:
    """The column with the longest texts, most of which differ."""
    means = [
        (sum(map(len, values)) / len(values), name) for name, values in texts.items() if len(values) > rows / 2 and not _numbers(values)
    ]
    return max(means)[1] if means else None


def _numbers(values: Sequence[str]) -> bool:
    return all(re.fullmatch(r"[-+\d.,:/ T%]+", value) for value in values)


def _said(value: Any) -> bool:
    return value is not None and str(value).strip().casefold() not in ("", "nan")
