"""From what a file says of a pair to a row of verdicts.csv."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from core.judge.answers import Pair
from core.results import Verdict

_BROKEN = ("failed", "unparsed")


def row(judge: str, prompt: str, pair: Pair, *, first: str = "", second: str = "", word: str = "", **more: Any) -> Verdict:
    """A verdict. `first`, `second`: what was said with the base and with the candidate shown first, empty where it was not asked.

    `word`: what was said where no order is on record. Both orders must agree on a winner; else it is a tie.
    """
    words = [each for each in (first, second, word) if each]
    broken = next((each for each in _BROKEN if each in words), None)
    verdict = broken or (words[0] if len(set(words)) == 1 else "tie")
    texts = {"first_reply": "", "second_reply": "", "tokens": None, "seconds": 0.0, **more}
    return Verdict(
        run="",
        judge=judge,
        prompt=prompt,
        base=pair.base,
        candidate=pair.candidate,
        category=pair.category,
        question=pair.question,
        reference=pair.reference,
        base_prediction=pair.base_prediction,
        candidate_prediction=pair.candidate_prediction,
        verdict=verdict,
        first_verdict=first,
        second_verdict=second,
        pair=pair.key,
        **texts,
    )


def numbered(rows: Iterable[Verdict]) -> list[Verdict]:
    """The rows with their `repeat`: how often the same judge was asked the same before."""
    seen: Counter[tuple[str, ...]] = Counter()
    done = []
    for each in rows:
        key = (each.judge, each.prompt, each.base, each.candidate, each.pair)
        done.append(replace(each, repeat=seen[key]))
        seen[key] += 1
    return done
