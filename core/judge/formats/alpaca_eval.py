"""AlpacaEval annotations: annotations.json of a model. https://github.com/tatsu-lab/alpaca_eval

`preference` runs from 1 (output_1) to 2 (output_2), with 1.5 (older files: 0) for a tie and nothing where no verdict was read; a weighted
annotator's preference counts as the side that it leans to. Each pair was asked in one order, drawn by chance: the answer called 'm' stood
first in the prompt. Newer files say which that was; of a weighted annotator the probability of 'm' tells it; else it is not on record.
"""

import json
import math
from typing import Any

from core.errors import shown
from core.judge.answers import Pair
from core.judge.formats.record import BadRecord, each, finite, is_there, number, text
from core.judge.formats.row import numbered, row
from core.results import Verdict

_CALLED = {"m": {"output_1": "base", "output_2": "fine-tuned"}, "M": {"output_2": "base", "output_1": "fine-tuned"}}
"""Whose answer stood first, by which one was called so."""


def verdicts(content: list[dict[str, Any]]) -> list[Verdict]:
    """Rows of verdicts.csv: output_1 is the base, output_2 the candidate, the annotator the judge, the dataset the category."""
    return numbered(each(content, lambda record: [_row(record)]))


def _row(record: dict[str, Any]) -> Verdict:
    pair = Pair(
        base=text(record, "generator_1", "output_1"),
        candidate=text(record, "generator_2", "output_2"),
        category=text(record, "dataset", "alpaca_eval"),
        question=text(record, "instruction"),
        reference="",
        base_prediction=text(record, "output_1"),
        candidate_prediction=text(record, "output_2"),
    )
    if "preference" not in record:
        raise BadRecord("has no 'preference'")
    word, reason = _word(record["preference"])
    raw = record.get("raw_completion")
    shown_first = {"base": "first", "fine-tuned": "second"}.get(_shown_first(record), "word")
    reply = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False) if raw else ""
    rationale = raw.get("concise_explanation", "") if isinstance(raw, dict) else ""
    return row(
        text(record, "annotator", "annotator"),
        "",
        pair,
        **{shown_first: word},
        **{"second_reply" if shown_first == "second" else "first_reply": reply},
        seconds=number(record, "time_per_example") or 0.0,
        cost=number(record, "price_per_example"),
        rationale=str(rationale or ""),
        reason=reason,
    )


def _word(preference: Any) -> tuple[str, str]:
    """What a preference says, and why it says nothing."""
    value = finite(preference)
    if not is_there(preference) or preference == "":
        return "unparsed", "no preference in the file"
    if value is None or not (value == 0 or 1 <= value <= 2):
        return "unparsed", f"preference {shown(preference)} is neither 1 to 2 nor 0"
    return "tie" if value in (0, 1.5) else "base" if value < 1.5 else "fine-tuned", ""


def _shown_first(record: dict[str, Any]) -> str:
    """base or fine-tuned: whose answer was called 'm'; empty where that can't be told."""
    named = record.get("referenced_models")
    if isinstance(named, dict):
        return next((side for name, sides in _CALLED.items() for output, side in sides.items() if named.get(name) == output), "")
    chance, value = _chances(record.get("raw_completion")), finite(record["preference"])
    m, other = chance.get("m", 0.0), chance.get("M", 0.0)
    if not m + other or value is None or not 1 <= value <= 2:
        return ""
    misses = {"fine-tuned": abs(m / (m + other) - value + 1), "base": abs(other / (m + other) - value + 1)}
    nearest, farthest = sorted(misses, key=misses.__getitem__)
    return nearest if misses[nearest] < 0.01 < misses[farthest] else ""


def _chances(raw: Any) -> dict[str, float]:
    """Probabilities of the reply's first token; empty where the reply has none, or has them in another shape."""
    try:
        tokens = raw["logprobs"]["content"][0]["top_logprobs"]
        return {str(token["token"]): math.exp(token["logprob"]) for token in tokens if token["logprob"] <= 0}
    except (KeyError, IndexError, TypeError):
        return {}
