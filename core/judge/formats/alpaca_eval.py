"""AlpacaEval annotations: annotations.json of a model. https://github.com/tatsu-lab/alpaca_eval

`preference` runs from 1 (output_1) to 2 (output_2), with 1.5 (older files: 0) for a tie and nothing where no verdict was read; a weighted
annotator's preference counts as the side that it leans to. Each pair was asked in one order, drawn by chance: the answer called 'm' stood
first in the prompt. Newer files say which that was; of a weighted annotator the probability of 'm' tells it; else it is not on record.
"""

import json
import math
from typing import Any

from core.judge.answers import Pair
from core.judge.formats.row import numbered, row
from core.results import Verdict

_SIDES = {"output_1": "base", "output_2": "fine-tuned"}


def verdicts(content: list[dict[str, Any]]) -> list[Verdict]:
    """Rows of verdicts.csv: output_1 is the base, output_2 the candidate, the annotator the judge, the dataset the category."""
    return numbered(_row(record) for record in content)


def _row(record: dict[str, Any]) -> Verdict:
    pair = Pair(
        base=str(record.get("generator_1") or "output_1"),
        candidate=str(record.get("generator_2") or "output_2"),
        category=str(record.get("dataset") or "alpaca_eval"),
        question=record["instruction"],
        reference="",
        base_prediction=record["output_1"] or "",
        candidate_prediction=record["output_2"] or "",
    )
    word, raw = _word(record["preference"]), record.get("raw_completion")
    shown = {"base": "first", "fine-tuned": "second"}.get(_shown_first(record), "word")
    reply = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False) if raw else ""
    rationale = raw.get("concise_explanation", "") if isinstance(raw, dict) else ""
    return row(
        str(record.get("annotator") or "annotator"),
        "",
        pair,
        **{shown: word},
        **{"second_reply" if shown == "second" else "first_reply": reply},
        seconds=float(record.get("time_per_example") or 0),
        cost=record.get("price_per_example"),
        rationale=str(rationale or ""),
        reason="no preference in the file" if word == "unparsed" else "",
    )


def _word(preference: Any) -> str:
    value = math.nan if preference in (None, "") else float(preference)
    if math.isnan(value):
        return "unparsed"
    return "tie" if value in (0, 1.5) else "base" if value < 1.5 else "fine-tuned"


def _shown_first(record: dict[str, Any]) -> str:
    """base or fine-tuned: whose answer was called 'm'; empty where that can't be told."""
    named, raw = record.get("referenced_models"), record.get("raw_completion")
    if isinstance(named, dict):
        return _SIDES.get(named.get("m", ""), "") or {"output_2": "base", "output_1": "fine-tuned"}.get(named.get("M", ""), "")
    if not isinstance(raw, dict) or not raw.get("logprobs"):
        return ""
    tokens = (raw["logprobs"].get("content") or [{}])[0].get("top_logprobs") or []
    chance = {each["token"]: math.exp(each["logprob"]) for each in tokens}
    m, other = chance.get("m", 0.0), chance.get("M", 0.0)
    preference = float(record["preference"] or 0) - 1
    if not m + other or not 0 <= preference <= 1:
        return ""
    misses = {"fine-tuned": abs(m / (m + other) - preference), "base": abs(other / (m + other) - preference)}
    nearest, farthest = sorted(misses, key=misses.__getitem__)
    return nearest if misses[nearest] < 0.01 < misses[farthest] else ""
