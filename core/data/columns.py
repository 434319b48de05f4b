"""Which columns hold question, answer and category, and their texts in one record."""

import json
import math
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any

from core.config import DataConfig
from core.data.source import Record
from core.errors import UserError

PAIRS = (
    ("question", "answer"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("input", "output"),
)
"""Names that are found without being chosen, the first pair that is there."""
EXTRAS = ("input", "context")
"""What a question column called `instruction` takes along (Alpaca's input, Dolly's context)."""
CHATS = ("messages", "conversations")
CATEGORY = "category"
ONE_CATEGORY = "general"
"""The category of all rows when there is no category column."""

_USER, _ASSISTANT = {"user", "human"}, {"assistant", "gpt"}


class Unusable(Exception):
    """A record that gives no row; the message is the reason."""


@dataclass(frozen=True)
class Columns:
    """Where question, answer and category stand."""

    question: str
    answer: str
    """The same column as the question: it holds chat messages."""
    category: str | None = None
    extra: str | None = None
    """Column that is added to the question, below it."""

    def __str__(self) -> str:
        if self.question == self.answer:
            pair = f"question and answer: the first exchange in '{self.question}'"
        else:
            also = f" with '{self.extra}' below it" if self.extra else ""
            pair = f"question: '{self.question}'{also}; answer: '{self.answer}'"
        return f"{pair}; category: " + (f"'{self.category}'" if self.category else f"no column, all rows are '{ONE_CATEGORY}'")


def choose(names: list[str], config: DataConfig) -> Columns:
    """The columns that the config chooses; for those it leaves open, the ones with well-known names."""
    for chosen in (config.question_column, config.answer_column, config.category_column):
        if chosen and chosen not in names:
            raise UserError(f"'{config.data}' has no column '{chosen}'. Choose one of its columns: {', '.join(names)[:400]}.")
    category = config.category_column or _named(names, CATEGORY)
    for question_name, answer_name in PAIRS:
        question = config.question_column or _named(names, question_name)
        answer = config.answer_column or _named(names, answer_name)
        if question and answer:
            return Columns(question, answer, category, _extra(names, question, answer, category))
    for chat in CHATS:
        column = _named(names, chat)
        if column and not config.question_column and not config.answer_column:
            return Columns(column, column, category)
    pairs = ", ".join("/".join(pair) for pair in PAIRS)
    raise UserError(
        f"'{config.data}' has no question and answer columns: it has {', '.join(names)[:400] or 'none'}; known names are {pairs} "
        f"and {'/'.join(CHATS)}. Choose with question_column and answer_column."
    )


def question_answer_category(record: Record, columns: Columns) -> tuple[str, str, str]:
    """The three texts of a record; raises Unusable."""
    if columns.question == columns.answer:
        question, answer = _first_exchange(record.get(columns.question))
    else:
        question = _text(record.get(columns.question), "question")
        answer = _text(record.get(columns.answer), "answer")
    if columns.extra and not _is_missing(record.get(columns.extra)):
        question = f"{question}\n\n{_text(record[columns.extra], columns.extra)}"
    return question, answer, _text(record.get(columns.category), "category") if columns.category else ONE_CATEGORY


def _named(names: list[str], wanted: str) -> str | None:
    """The column with this name; another case will do."""
    return wanted if wanted in names else next((name for name in names if name.strip().casefold() == wanted), None)


def _extra(names: list[str], *used: str | None) -> str | None:
    if (used[0] or "").strip().casefold() != "instruction":
        return None
    return next((column for extra in EXTRAS if (column := _named(names, extra)) and column not in used), None)


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip() or value.strip().casefold() == "nan"
    return value is None or (isinstance(value, float | Decimal) and not math.isfinite(value))


def _text(value: Any, what: str) -> str:
    """The value as text: without blanks round it, lines ended by \\n; numbers and dates as they are written."""
    if _is_missing(value):
        raise Unusable(f"the {what} is missing (empty, null or NaN)")
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Decimal | date | time):
        return str(value)
    if not isinstance(value, str):
        raise Unusable(f"the {what} is no text but {type(value).__name__}")
    if "\0" in value:
        raise Unusable(f"the {what} holds a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unusable(f"the {what} holds half a character (a lone surrogate)") from None
    return value.replace("\r\n", "\n").strip()


def _first_exchange(messages: Any) -> tuple[str, str]:
    """The first user message and the assistant's reply to it, of OpenAI (role, content) or ShareGPT (from, value) messages."""
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except (ValueError, RecursionError):
            raise Unusable("the chat is text that is no JSON") from None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Unusable("the chat is no list of messages")
    question = None
    for message in messages:
        role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
        if role in _USER and question is None:
            question = _text(content, "question")
        elif role in _ASSISTANT and question is not None:
            return question, _text(content, "answer")
    raise Unusable("the chat has no user message with a reply")
