"""verdicts.csv of a Lyceum somewhere else, or made by hand in its columns."""

from dataclasses import fields, replace
from typing import Any

from core.judge.answers import Pair
from core.results import Verdict

_NUMBERS = {"tokens": int, "seconds": float, "repeat": int, "cost": float}
_NEEDED = {"seconds": 0.0, "repeat": 0}


def verdicts(content: list[dict[str, Any]]) -> list[Verdict]:
    """Rows as they stand; missing columns are empty, a missing pair id is made from the content."""
    return [_row(record) for record in content]


def _row(record: dict[str, Any]) -> Verdict:
    values: dict[str, Any] = {}
    for name in (each.name for each in fields(Verdict)):
        text = str(record.get(name, ""))
        kind = _NUMBERS.get(name)
        values[name] = text if kind is None else kind(float(text)) if text else _NEEDED.get(name)
    made = Verdict(**values)
    if made.pair:
        return made
    pair = Pair(made.base, made.candidate, made.category, made.question, made.reference, made.base_prediction, made.candidate_prediction)
    return replace(made, pair=pair.key)
