"""The tables of data reports and training runs."""

from dataclasses import dataclass

from core.results.table import Row


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
