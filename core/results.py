"""The CSV tables: one dataclass per table is its schema. Tables are long: a new metric adds rows, never columns.

A missing value is an empty cell; where a table has a `reason` column, it says why.
"""

import csv
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ALL = "(all)"
"""The category of a row that stands for all categories together."""


@dataclass(frozen=True)
class Row:
    """What all tables share."""

    @classmethod
    def columns(cls) -> list[str]:
        """The table's columns, in order."""
        return [each.name for each in fields(cls)]


@dataclass(frozen=True)
class Step(Row):
    """steps.csv: one optimiser step of one adapter. `validation_loss` stands on the step it was measured at. Losses: nats per token."""

    adapter: str
    step: int
    epoch: float
    loss: float
    validation_loss: float | None
    grad_norm: float
    learning_rate: float
    tokens_per_second: float


@dataclass(frozen=True)
class Token(Row):
    """first_batch.csv: a token of the first optimiser step's rows, as the model sees it."""

    adapter: str
    row: int
    """Place of the row in the step, from 0."""
    position: int
    text: str
    supervised: int
    """1 where the loss counts the token (the answer and its end token), else 0."""


@dataclass(frozen=True)
class ValidationRow(Row):
    """validation_rows.csv: the loss of one validation row under the kept weights of its adapter."""

    adapter: str
    category: str
    question: str
    reference: str
    loss: float
    """Nats per answer token."""
    tokens: int
    """Answer tokens, end token included."""


@dataclass(frozen=True)
class DataRow(Row):
    """report.csv: one figure about a dataset. `split` may be empty; `value` may be empty with a `reason`."""

    category: str
    split: str
    figure: str
    """rows, dropped, duplicates, leaks, tokens_mean, tokens_p95, tokens_max, share_cut, unsupervised ..."""
    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Leak(Row):
    """leaks.csv: a held-out row that nearly repeats a row of an earlier split (train, validation, test)."""

    category: str
    split: str
    question: str
    similarity: float
    """Jaccard similarity of the words of question and answer, 0 to 1."""
    other_category: str
    other_split: str
    other_question: str


@dataclass(frozen=True)
class Model(Row):
    """models.csv: which models an evaluation compared."""

    model: str
    role: str
    """base, own, pooled or merged."""
    category: str
    """The category of an own adapter; empty for the others."""
    path: str
    """Relative to LYCEUM_HOME, or as given."""
    content_hash: str


@dataclass(frozen=True)
class Answer(Row):
    """answers.csv: one model's answer to one held-out question."""

    run: str
    model: str
    category: str
    question: str
    reference: str
    prediction: str
    reference_loss: float
    """Total loss of the reference answer, end token included, in nats."""
    reference_tokens: int
    """Tokens of the reference answer, end token included."""
    finish: str
    """stop, or length when the answer was cut at max_new_tokens."""


@dataclass(frozen=True)
class Score(Row):
    """scores.csv: one figure of one model on one category. low and high: 95 % interval."""

    run: str
    model: str
    category: str
    metric: str
    value: float | None
    n: int
    low: float | None
    high: float | None
    signature: str
    reason: str = ""


@dataclass(frozen=True)
class Verdict(Row):
    """verdicts.csv: one pair of answers, judged in both orders. Agreement of both orders decides; disagreement is a tie."""

    run: str
    judge: str
    prompt: str
    base: str
    candidate: str
    category: str
    question: str
    reference: str
    base_prediction: str
    candidate_prediction: str
    verdict: str
    """base, fine-tuned, tie, unparsed or failed."""
    first_verdict: str
    """Verdict with base shown first; the same words."""
    second_verdict: str
    """Verdict with the candidate shown first; the same words."""
    first_reply: str
    second_reply: str
    tokens: int | None
    seconds: float
    reason: str = ""
    """Why a verdict is unparsed or failed."""


def write(path: Path, rows: Iterable[Row], row_type: type[Row]) -> Path:
    """Write a table; it appears whole, by atomic rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row_type.columns())
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    os.replace(temporary, path)
    return path


def append(path: Path, rows: Iterable[Row], row_type: type[Row]) -> None:
    """Add rows to a table that grows while a run goes on."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row_type.columns())
        if new:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read(path: Path, row_type: type[Row]) -> "pd.DataFrame":
    """A table as a DataFrame; text columns keep their text ('None' and 'NA' included), empty numbers are NaN."""
    import pandas as pd

    kinds: dict[str, Any] = {each.name: str for each in fields(row_type) if each.type is str}
    texts = list(kinds)
    table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={c: [""] for c in row_type.columns() if c not in texts})
    return table[[column for column in row_type.columns() if column in table]]
