"""The tables of an evaluation, and the ledger of claims."""

from dataclasses import dataclass

from core.results.table import Row


@dataclass(frozen=True)
class Model(Row):
    """models.csv: which models an evaluation compared."""

    model: str
    role: str
    """base, own, pooled, merged or route."""
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
class RouteWeight(Row):
    """route_weights.csv: how much of an adapter a route gave to one question. Of a route by token: the mean over tokens and layers."""

    run: str
    model: str
    """The route."""
    category: str
    question: str
    adapter: str
    weight: float
    own: int
    """1 where the adapter was trained on the question's category, else 0. No route knows it."""


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
class AnswerScore(Row):
    """answer_scores.csv: one figure of one answer. A corpus figure such as BLEU is no mean of these."""

    run: str
    model: str
    category: str
    question: str
    reference: str
    metric: str
    value: float | None


@dataclass(frozen=True)
class Comparison(Row):
    """comparisons.csv: one figure of one model against the baseline's on the same questions, by a paired test."""

    run: str
    model: str
    """'own': each category's own adapter on its category."""
    baseline: str
    """The base, or 'own' where the price of one model for all categories is asked."""
    category: str
    metric: str
    difference: float | None
    """Model minus baseline, in the metric's unit."""
    low: float | None
    high: float | None
    """95 % interval of the difference: paired bootstrap over questions."""
    p: float | None
    """Two-sided p-value of no difference."""
    p_holm: float | None
    """The same, held against all cells of the metric at once (Holm 1979)."""
    n: int
    reason: str = ""


@dataclass(frozen=True)
class Flag(Row):
    """flags.csv: something is odd about one answer. An answer without oddities has no row."""

    run: str
    model: str
    category: str
    question: str
    flag: str
    """empty, cut, loop, copies_question, memorised or other_language."""
    detail: str = ""


@dataclass(frozen=True)
class Claim(Row):
    """claims.csv: a figure that somebody published, beside the same question asked of one's own data."""

    claim: str
    source: str
    statement: str
    theirs: str
    value: float | None
    low: float | None
    high: float | None
    """95 % interval."""
    n: int | None
    unit: str
    holds: str
    """holds, does not hold, or cannot be said."""
    how: str
    """How ours was measured, or what is missing to measure it."""
    runs: str
    """Run ids that it comes from, between commas."""
