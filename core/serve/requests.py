"""What can be asked of the engine, checked by pydantic, and made into what the engine takes: plans and tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core import paths
from core.config import DataConfig, MergeConfig
from core.data.prompt import Encoded, Prompter
from core.data.read import read
from core.errors import UserError
from core.serve.computing import Computing
from core.serve.losses import Row
from core.serve.mixes import REPLACED, Plan
from core.serve.rows import Ask


def _whole(text: str) -> str:
    """Half characters, such as \\ud800 alone, are no text: no tokenizer reads them."""
    if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("it holds half a character (a lone surrogate), which is no text. Send whole characters")
    return text


Whole = AfterValidator(_whole)
Text = Annotated[str, Field(max_length=20_000), Whole]
Session = Annotated[str, Field(min_length=1, max_length=100)]


class Asked(BaseModel):
    """What all requests share: an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(Asked):
    """One answer of a request."""

    key: Annotated[str, Field(min_length=1, max_length=200)]
    """Names the answer in the events."""
    question: Text
    category: Text = ""
    """What {category} in the system prompt stands for."""
    mix: MergeConfig | None = None
    """None: the base model."""
    so_far: Text = ""
    """Text that is answered already, under another mix perhaps: the answer goes on from there."""


class AnswersAsked(Asked):
    """POST /console/answers. A newer request of a session supersedes the older one."""

    session: Session
    system_prompt: Text | None = None
    max_new_tokens: int = Field(64, ge=1, le=4096)
    """Of the whole answer, so_far included."""
    rows: list[Question] = Field(min_length=1, max_length=256)


class LossesAsked(Asked):
    """POST /console/losses. A newer request of a session supersedes the older one."""

    session: Session
    data: str = "data/seven_schools.jsonl"
    question_column: str | None = None
    answer_column: str | None = None
    category_column: str | None = None
    system_prompt: Text | None = None
    max_seq_length: int = Field(512, ge=16, le=131072)
    split: Literal["validation"] = "validation"
    """Held-out rows, and never those of the test."""
    limit: int | None = Field(None, ge=1)
    """At most this many rows per category."""
    mixes: list[MergeConfig | None] = Field(min_length=1, max_length=256)
    categories: list[list[str] | None] | None = None
    """Per mix: the categories whose losses are asked for. None: all."""


def asks(engine: Computing, asked: AnswersAsked) -> list[Ask]:
    """The answers that are asked for. Raises UserError for what can't be answered."""
    keys = [row.key for row in asked.rows]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UserError(f"The key '{twice}' stands twice, so its answers couldn't be told apart. Give each row a key of its own.")
    prompter = Prompter(engine.tokenizer, asked.system_prompt)
    return [_ask(engine, prompter, row, asked.max_new_tokens) for row in asked.rows]


def losses(engine: Computing, asked: LossesAsked) -> tuple[list[tuple[Plan, list[Row]]], str]:
    """Each mix that is asked for, with its rows; and, in a sentence, which rows are left out."""
    if asked.categories is not None and len(asked.categories) != len(asked.mixes):
        raise UserError(f"{len(asked.categories)} lists of categories were given for {len(asked.mixes)} mixes. Give one, or null, per mix.")
    if paths.is_url(asked.data):
        raise UserError(f"The engine reads files of its own machine, and '{asked.data[:80]}' is an address. Give a path.")
    columns = asked.model_dump(include={"question_column", "answer_column", "category_column", "system_prompt", "max_seq_length"})
    with _usable_names():
        file = paths.data_file(asked.data)
        changed = file.stat().st_mtime_ns if file.is_file() else None
    rows, note = _rows(engine, DataConfig(data=asked.data, **columns), changed, asked.limit)
    wanted = asked.categories or [None] * len(asked.mixes)
    known = {row.category for row in rows}
    for category in [category for listed in wanted for category in listed or []]:
        if category not in known:
            raise UserError(f"'{asked.data}' has no validation rows of a category '{category}'. Choose from: {', '.join(sorted(known))}.")
    plans = [plan(engine, mix) for mix in asked.mixes]
    chosen = [[row for row in rows if listed is None or row.category in listed] for listed in wanted]
    return list(zip(plans, chosen, strict=True)), note


def _ask(engine: Computing, prompter: Prompter, row: Question, max_new_tokens: int) -> Ask:
    prompt = prompter.prompt(row.question, row.category)
    if engine.context and len(prompt) + max_new_tokens > engine.context:
        raise UserError(
            f"The prompt of '{row.key}' has {len(prompt)} tokens; with {max_new_tokens} new ones that is more than the {engine.context} "
            "that the base model can see. Shorten the question, or lower max_new_tokens."
        )
    said = engine.tokenizer(row.so_far, add_special_tokens=False)["input_ids"] if row.so_far else []
    return Ask(row.key, plan(engine, row.mix), tuple(prompt), tuple(said), max_new_tokens)


def plan(engine: Computing, mix: MergeConfig | None) -> Plan:
    """The plan; adapters of an exact sum are read here, so that what is wrong with them is said at once."""
    try:
        with _usable_names():
            found = engine.mixes.plan(mix)
        engine.mixes.made(found)
    except FileNotFoundError:
        raise UserError(REPLACED) from None
    return found


@contextmanager
def _usable_names() -> Iterator[None]:
    """Names that no file can have, such as one of 300 characters, or a home of nobody, are a person's mistake."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, UnicodeError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"A name in the request can't be a file's ({str(why).rstrip('.')}). Give the name of one that exists.") from None


@lru_cache(8)
def _rows(engine: Computing, config: DataConfig, changed: int | None, limit: int | None) -> tuple[list[Row], str]:
    """Validation rows, remembered until the file changes, and which are left out."""
    prompter = Prompter(engine.tokenizer, config.system_prompt, config.max_seq_length)
    found = read(config).select("validation", limit=limit)
    if not found:
        raise UserError(f"The validation split of {config.data} has no row, so there is no loss to measure. Add rows.")
    encoded = prompter.encode_all([(row.question, row.answer, row.category) for row in found])
    rows = [Row.of(row.category, each) for row, each in zip(found, encoded, strict=True) if _measurable(each, engine.context)]
    note = _left_out(engine, config, encoded)
    if not rows:
        raise UserError(f"No row of {config.data} has a loss. {note}")
    return rows, note


def _measurable(row: Encoded, context: int | None) -> bool:
    """Whether a row has answer tokens, and the base model can see all of it."""
    return bool(row.answer) and (context is None or len(row) <= context)


def _left_out(engine: Computing, config: DataConfig, rows: list[Encoded]) -> str:
    """How many rows are left out, and why; empty: none."""
    full = sum(not row.answer for row in rows)
    long = sum(bool(row.answer) and not _measurable(row, engine.context) for row in rows)
    found = []
    if full:
        found.append(
            f"{full} of {len(rows)} rows are left out: their prompts, with the system prompt, fill max_seq_length={config.max_seq_length} "
            "and leave no room for an answer. Raise it, or shorten the system prompt."
        )
    if long:
        found.append(
            f"{long} of {len(rows)} rows are left out: they have more than the {engine.context} tokens that the base model can see. "
            f"Set max_seq_length to {engine.context} or less, which cuts their answers."
        )
    return " ".join(found)
