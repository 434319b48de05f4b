"""From replies to verdicts: what a reply means in its order, what both orders say together, and the figures of a run."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import results
from core.judge.answers import Pair
from core.judge.backend import Backend
from core.judge.budget import Prices
from core.judge.replies import Asked

if TYPE_CHECKING:
    import pandas as pd

WIN_RATE = "fine-tuned / (fine-tuned + base + tie)"
"""What the win rate is: the share of judged pairs whose candidate was preferred in both orders; what was not judged stands beside it."""
WORDS = ("fine-tuned", "base", "tie", "unparsed", "failed", "not asked")
_BROKEN = ("failed", "not asked", "unparsed")
_MEANING = ({"A": "base", "B": "fine-tuned", "tie": "tie"}, {"A": "fine-tuned", "B": "base", "tie": "tie"})
"""What the words mean when the base is shown first, and when the candidate is."""
_ORDERS = ("base first", "candidate first")


@dataclass(frozen=True)
class Opinion:
    """What came of one question to the judge."""

    verdict: str
    """base, fine-tuned, tie, unparsed, failed or not asked."""
    reply: str = ""
    reason: str = ""
    rationale: str = ""
    tokens: int | None = None
    cost: float | None = None
    seconds: float = 0.0


def opinion(judge: Backend, asked: Asked, order: int, prices: Prices) -> Opinion:
    """What a reply means. `order` 0: the base was shown first; 1: the candidate."""
    reading, reply = judge.read(asked.reply), asked.reply
    verdict = _MEANING[order][reading.choice] if reading.choice else "unparsed"
    tokens = None if reply.tokens is None else reply.tokens.total
    return Opinion(verdict, reply.text, reading.reason, reading.rationale, tokens, prices.of(reply.tokens), asked.seconds)


def agreed(words: Iterable[str]) -> str:
    """The verdict of what was said in each order: agreement decides, disagreement is a tie, what is missing in one order is missing."""
    said = set(words)
    broken = [word for word in _BROKEN if word in said]
    return broken[0] if broken else said.pop() if len(said) == 1 else "tie"


def verdict(run_id: str, judge: Backend, pair: Pair, repeat: int, first: Opinion, second: Opinion) -> results.Verdict:
    """The row of a pair in verdicts.csv."""
    return results.Verdict(
        run=run_id,
        judge=judge.name,
        prompt=judge.prompt,
        **pair.columns,
        verdict=agreed((first.verdict, second.verdict)),
        first_verdict="" if first.verdict == "not asked" else first.verdict,
        second_verdict="" if second.verdict == "not asked" else second.verdict,
        first_reply=first.reply,
        second_reply=second.reply,
        tokens=total((first.tokens, second.tokens)),
        seconds=round(first.seconds + second.seconds, 3),
        reason=_reason(first, second),
        repeat=repeat,
        cost=total((first.cost, second.cost)),
        rationale="\n".join(each.rationale for each in (first, second) if each.rationale),
    )


def _reason(first: Opinion, second: Opinion) -> str:
    """Why a pair is without a verdict: said once where both orders have the same reason, else with its order."""
    if first.reason == second.reason:
        return first.reason
    return "; ".join(f"{order}: {each.reason}" for order, each in zip(_ORDERS, (first, second), strict=True) if each.reason)


def figures(table: "pd.DataFrame") -> dict[str, Any]:
    """Counts per verdict, the win rate with its interval (clustered by question), flips, tokens and cost. `table`: rows of verdicts.csv."""
    from core import judging
    from core.judge import measures

    counts = Counter[str](table["verdict"].value_counts().to_dict())
    rate = judging.win_rates(table).iloc[0]
    flipped, judged = measures.flips(table), int(rate["n"])
    return {
        "pairs": len(table),
        "judged": judged,
        "counts": {word: counts[word] for word in WORDS},
        "win_rate": float(rate["win_rate"]) if judged else None,
        "win_rate_low": float(rate["low"]) if judged else None,
        "win_rate_high": float(rate["high"]) if judged else None,
        "win_rate_is": WIN_RATE,
        "unparsed": counts["unparsed"],
        "failed": counts["failed"],
        "not_asked": counts["not asked"],
        "flips": round(flipped.value * flipped.n) if flipped.n else 0,
        "flip_rate": flipped.value if flipped.n else None,
        "tokens": _sum(table["tokens"], int),
        "cost": _sum(table["cost"], float),
    }


def summary(judge: str, base: str, candidate: str, found: dict[str, Any]) -> str:
    """A judge's figures in a sentence."""
    counts = found["counts"]
    beside = ", ".join(f"{counts[word]} {word}" for word in _BROKEN[::-1] if counts[word] or word != "not asked")
    if not found["judged"]:
        return f"{judge}: no pair could be judged ({beside})."
    return (
        f"{judge} prefers {candidate} to {base} in {counts['fine-tuned']} of {found['judged']} pairs: "
        f"{found['win_rate']:.1%} (95 % interval {found['win_rate_low']:.1%} to {found['win_rate_high']:.1%}); "
        f"{counts['base']} for {base}, {counts['tie']} ties, {found['flips']} changed with the order, {beside}."
    )


def _sum(column: "pd.Series", kind: type) -> Any:
    known = column.dropna()
    return kind(known.sum()) if len(known) else None


def total(values: Iterable[Any]) -> Any:
    """The sum of what is known; None where nothing is."""
    known = [each for each in values if each is not None]
    return sum(known) if known else None
