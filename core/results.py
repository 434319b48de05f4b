"""The CSV tables: one dataclass per table is its schema. Tables are long: a new metric adds rows, never columns.

A missing value is an empty cell; where a table has a `reason` column, it says why.
"""

import csv
import os
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ALL = "(all)"
"""The category of a row that stands for all categories together."""
OTHERS = "(others)"
"""In comparisons.csv: all categories together but the model's own."""
GENERAL = "(general)"
"""The category of rows about other matters, which count in no total: what a model forgot."""


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
class Fidelity(Row):
    """fidelity.csv, beside a merged adapter: how near a merge is to the exact weighted sum of its adapters, layer by layer.

    Norms are Frobenius norms; E is the exact sum, M the merged delta as written.
    """

    layer: str
    """'(all)': over all layers together."""
    measure: str
    """relative_error: ||M - E|| / ||E||. norm_ratio: ||M|| / ||E||. energy_kept: share of the strategy's own result left at the rank.
    sign_conflict: share of the entries in which two weighted deltas differ in sign. cancelled: 1 - sum |E| / sum_i sum |w_i d_i|."""
    value: float | None
    """Empty where the exact sum is 0."""


@dataclass(frozen=True)
class Cosine(Row):
    """cosines.csv, beside a merged adapter: how alike the deltas of two of its adapters are, over all layers; weights play no part."""

    one: str
    other: str
    cosine: float
    """<d_1, d_2> / (||d_1|| ||d_2||), -1 to 1."""


@dataclass(frozen=True)
class Trial(Row):
    """trials.csv: one figure of one mix that a search tried. Losses: nats per answer token, on validation rows."""

    trial: int
    """In the order they were tried, from 0, over all strategies."""
    strategy: str
    origin: str
    """base (nothing), alone, average (1/n each), equal (more than that each), sum (1 each), surface, or the optimiser's name."""
    figure: str
    """weight: of the adapter `name`. loss: of the category `name`, '(all)' being the mean of the categories' losses.
    worst: loss of the worst category, which is `name`. pareto: 1 where no trial is lower in mean and worst, else 0."""
    name: str
    value: float


@dataclass(frozen=True)
class SurfacePoint(Row):
    """surface.csv: the loss over the weights of two adapters, the others at the best weights found. One row per point and category."""

    one: str
    other: str
    one_weight: float
    other_weight: float
    strategy: str
    category: str
    """'(all)': the mean of the categories' losses."""
    loss: float
    """Nats per answer token, on validation rows."""


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
class Verdict(Row):
    """verdicts.csv: one pair of answers before one judge, in one repeat. Agreement of both orders decides; disagreement is a tie.

    Imported verdicts may have been asked in one order alone: the other one's word is empty, and the verdict is the one that is there.
    """

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
    """base, fine-tuned, tie, unparsed, failed, or not asked (the budget or an early stop ended the run before)."""
    first_verdict: str
    """Verdict with base shown first; the same words, or empty: not asked in this order."""
    second_verdict: str
    """Verdict with the candidate shown first; the same words."""
    first_reply: str
    second_reply: str
    tokens: int | None
    """Prompt and reply of both orders together."""
    seconds: float
    reason: str = ""
    """Why a verdict is unparsed or failed."""
    repeat: int = 0
    """How often this judge was asked the same before."""
    pair: str = ""
    """Id of question, reference and both answers, by content: the same for all judges, people and runs."""
    cost: float | None = None
    """Money for both orders, in the currency of the prices given."""
    rationale: str = ""
    """What the judge gave as its reasons, both orders."""


@dataclass(frozen=True)
class AuditFigure(Row):
    """audit.csv: what a judge's verdicts say about the judge. low and high: 95 % interval."""

    run: str
    judge: str
    """Empty: about all judges of the run together."""
    figure: str
    """flip_rate, first_position_rate, longer_answer_rate, win_rate, length_controlled_win_rate, unparsed, failed, repeat_agreement, ..."""
    value: float | None
    low: float | None
    high: float | None
    n: int
    light: str = ""
    """green, amber or red; empty for a figure that says nothing for or against the judge."""
    note: str = ""
    """The threshold that was passed, why there is no value, or how the figure was taken."""


@dataclass(frozen=True)
class Theme(Row):
    """themes.csv: rationales that speak of the same thing."""

    run: str
    judge: str
    pair: str
    theme: int
    words: str
    """The most typical words of the theme, between commas."""


@dataclass(frozen=True)
class ArenaPair(Row):
    """pairs.csv: two answers that a round of the arena shows, in the order in which they are asked."""

    pair: str
    """As in verdicts.csv."""
    base: str
    candidate: str
    category: str
    question: str
    reference: str
    base_prediction: str
    candidate_prediction: str


@dataclass(frozen=True)
class Vote(Row):
    """votes.csv: what one person said of one pair, names hidden. Rows are only added; of a reviewer's votes on a pair the last counts."""

    at: str
    """ISO 8601, UTC."""
    round: str
    """Run id of the arena round."""
    reviewer: str
    pair: str
    """As in verdicts.csv."""
    base: str
    candidate: str
    category: str
    question: str
    left: str
    """base or candidate: whose answer stood on the left."""
    choice: str
    """left, right, tie or skip; undo: the vote before is taken back."""
    verdict: str
    """base, fine-tuned or tie, as of a judge; empty: skipped or taken back."""
    seconds: float
    reason: str = ""


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
    """A table as a DataFrame; text columns keep their text ('None' and 'NA' included), empty numbers are NaN.

    A column with a default may be missing in the file: an older table is read as a newer one.
    """
    import pandas as pd

    kinds: dict[str, Any] = {each.name: str for each in fields(row_type) if each.type is str}
    texts = list(kinds)
    table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={c: [""] for c in row_type.columns() if c not in texts})
    for each in fields(row_type):
        if each.name not in table and each.default is not MISSING:
            table[each.name] = each.default
    return table[[column for column in row_type.columns() if column in table]]
