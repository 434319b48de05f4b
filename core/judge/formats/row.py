"""From what a file says of a pair to a row of verdicts.csv."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from core.judge.answers import Pair
from core.judge.verdicts import agreed
from core.results import Verdict


def row(judge: str, prompt: str, pair: Pair, *, first: str = "", second: str = "", word: str = "", **more: Any) -> Verdict:
    """A verdict. `first`, `second`: what was said with the base and with the candidate shown first, empty where it was not asked.

    `word`: what was said where no order is on record. Both orders must agree on a winner; else it is a tie.
    """
    texts = {"first_reply": "", "second_reply": "", "tokens": None, "seconds": 0.0, **more}
    return Verdict(
        run="",
        judge=judge,
        prompt=prompt,
        **pair.columns,
        verdict=agreed(each for each in (first, second, word) if each),
        first_verdict=first,
        second_verdict=second,
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
