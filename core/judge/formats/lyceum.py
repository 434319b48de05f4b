"""verdicts.csv of a Lyceum somewhere else, or made by hand in its columns."""

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any

from core.errors import shown
from core.judge.answers import Pair
from core.judge.formats.record import each, number, text
from core.judge.verdicts import WORDS
from core.results import Verdict

_NUMBERS = {"tokens": int, "seconds": float, "repeat": int, "cost": float}
_NEEDED = {"seconds": 0.0, "repeat": 0}


def verdicts(content: Iterable[dict[str, Any]]) -> Iterator[Verdict]:
    """Rows as they stand, one after the other, so that no large file is held.

    Missing columns are empty, a missing pair id is made from the content. Unknown words are unparsed.
    """
    return each(content, lambda record: [_row(record)])


def _row(record: dict[str, Any]) -> Verdict:
    values: dict[str, Any] = {one.name: _value(record, one.name) for one in fields(Verdict)}
    made = _checked(Verdict(**values))
    if made.pair:
        return made
    pair = Pair(made.base, made.candidate, made.category, made.question, made.reference, made.base_prediction, made.candidate_prediction)
    return replace(made, pair=pair.key)


def _value(record: dict[str, Any], name: str) -> Any:
    if name not in _NUMBERS:
        return text(record, name, "")
    found = number(record, name)
    return _NEEDED.get(name) if found is None else _NUMBERS[name](found)


def _checked(made: Verdict) -> Verdict:
    """The row; a word that is none of ours is unparsed, and with it the verdict."""
    words = {"verdict": made.verdict, "first_verdict": made.first_verdict, "second_verdict": made.second_verdict}
    wrong = {name: word for name, word in words.items() if word not in WORDS and (word or name == "verdict")}
    if not wrong:
        return made
    why = "; ".join(f"{name} is {shown(word)!r}, none of {', '.join(WORDS)}" for name, word in wrong.items())
    first, second = ("unparsed" if name in wrong else words[name] for name in ("first_verdict", "second_verdict"))
    return replace(made, verdict="unparsed", first_verdict=first, second_verdict=second, reason="; ".join(filter(None, (made.reason, why))))
