"""The tables of judges, of their audits, and of people."""

from dataclasses import dataclass

from core.results.table import Row


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
