"""LLM Comparator's JSON, both ways. Kahng et al. 2025, doi:10.1109/TVCG.2024.3456354; https://github.com/PAIR-code/llm-comparator

Model A is the candidate, model B the base. Scores are in [-1.5, 1.5]; above 0 A is better, also where `is_flipped` (B was shown first).
Where an example has single ratings they are read, and not its mean score: two ratings that disagree are a tie, whatever their mean.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from core.errors import shown
from core.judge.answers import Pair
from core.judge.formats.record import BadRecord, each, finite, is_there, objects, text
from core.judge.formats.row import numbered, row
from core.results import Verdict
from core.wording import count

_SCORES = {"fine-tuned": 1.0, "tie": 0.0, "base": -1.0}
_FLIPPED = {"true": True, "1": True, "1.0": True, "yes": True, "false": False, "0": False, "0.0": False, "no": False}
_LABELS = {"fine-tuned": "A is better", "tie": "same", "base": "B is better"}


def verdicts(content: dict[str, Any]) -> list[Verdict]:
    """Rows of verdicts.csv: the n-th plain and the n-th flipped rating make a repeat; ratings of unknown order and bare scores one each."""
    models = objects(content, "models")
    if len(models) != 2:
        raise BadRecord(f"'models' names {count(len(models), 'model')}, and has to name two")
    candidate, base = (text(model, "name") for model in models)
    metadata = content.get("metadata")
    judge = text(metadata if isinstance(metadata, dict) else {}, "judge", "LLM Comparator's rater")
    return numbered(each(objects(content, "examples"), lambda example: _rows(example, judge, base, candidate), "example"))


def _rows(example: dict[str, Any], judge: str, base: str, candidate: str) -> list[Verdict]:
    tags, fields = example.get("tags") or ["untagged"], example.get("custom_fields")
    category = ", ".join(str(tag) for tag in (tags if isinstance(tags, list) else [tags]))
    fields = fields if isinstance(fields, dict) else {}
    answers = _text(example, "b"), _text(example, "a")
    pair = Pair(base, candidate, category, text(example, "input_text"), text(fields, "reference", ""), *answers)
    ratings = objects(example, "individual_rater_scores")
    plain, flipped, unknown = ([rating for rating in ratings if _flipped(rating) is way] for way in (False, True, None))
    if not ratings:
        unknown = [{"score": example.get("score")}]
    rows = []
    for at in range(max(len(plain), len(flipped))):
        rows.append(_row(judge, pair, second=plain[at : at + 1], first=flipped[at : at + 1]))
    rows += [_row(judge, pair, word=[rating]) for rating in unknown]
    known = text(fields, "pair", "")
    return [replace(made, pair=known or made.pair) for made in rows]


def _row(judge: str, pair: Pair, **ratings: list[dict[str, Any]]) -> Verdict:
    said = [(place, rating) for place, there in ratings.items() for rating in there]
    words = {place: _word(rating.get("score")) for place, rating in said}
    labels = {f"{place}_reply": text(rating, "rating_label", "") for place, rating in said if place != "word"}
    reasons = dict.fromkeys(why for _, rating in said for why in _wrong(rating))
    rationale = "\n".join(filter(None, (text(rating, "rationale", "") for _, rating in said)))
    return row(judge, "", pair, **words, **labels, rationale=rationale, reason="; ".join(reasons))


def _word(score: Any) -> str:
    value = finite(score)
    return "unparsed" if value is None else "fine-tuned" if value > 0 else "base" if value < 0 else "tie"


def _flipped(rating: dict[str, Any]) -> bool | None:
    """Whether B was shown first; None where that isn't said, or not as true, false, 1 or 0."""
    return _FLIPPED.get(str(rating.get("is_flipped")).strip().lower())


def _wrong(rating: dict[str, Any]) -> Iterator[str]:
    """What can't be read of a rating."""
    score, way = rating.get("score"), rating.get("is_flipped")
    if finite(score) is None:
        yield f"score {shown(score)} is no number" if is_there(score) else "no score in the file"
    if is_there(way) and _flipped(rating) is None:
        yield f"is_flipped {shown(way)!r} is neither true nor false, so its order is taken as unknown"


def _text(example: dict[str, Any], side: str) -> str:
    parts = example.get(f"output_text_{side}")
    return "\n".join(str(part) for part in parts) if isinstance(parts, list) else text(example, f"output_text_{side}")


def exported(verdicts: pd.DataFrame) -> str:
    """The JSON of one candidate's verdicts against its base by one judge; what was not judged is left out.

    Each pair is an example, its ratings the replies of all repeats, its score their mean.
    """
    chosen = verdicts[verdicts["verdict"].isin(list(_SCORES))]
    candidate, base, judge = (", ".join(dict.fromkeys(chosen[column])) for column in ("candidate", "base", "judge"))
    keys = ["pair", "candidate", "base", "category", "question", "reference", "base_prediction", "candidate_prediction"]
    examples = [_example(dict(zip(keys, key, strict=True)), rows) for key, rows in chosen.groupby(keys, sort=False)]
    schema = [{"name": "reference", "type": "text"}, {"name": "pair", "type": "string"}]
    metadata = {"source_path": ", ".join(dict.fromkeys(chosen["run"])), "judge": judge, "custom_fields_schema": schema}
    made = {"metadata": metadata, "models": [{"name": candidate}, {"name": base}], "examples": examples}
    return json.dumps(made, ensure_ascii=False, indent=1)


def _example(pair: dict[str, str], rows: pd.DataFrame) -> dict[str, Any]:
    ratings = [rating for each in rows.itertuples() for rating in _ratings(each)]
    scores = [rating["score"] for rating in ratings] or [_SCORES[word] for word in rows["verdict"]]
    return {
        "input_text": pair["question"],
        "tags": [pair["category"]],
        "output_text_a": pair["candidate_prediction"],
        "output_text_b": pair["base_prediction"],
        "score": sum(scores) / len(scores),
        "individual_rater_scores": ratings,
        "custom_fields": {"reference": pair["reference"], "pair": pair["pair"]},
    }


def _ratings(verdict: Any) -> list[dict[str, Any]]:
    """The replies of a row; the candidate (A) stood first in the second order."""
    asked = [(verdict.second_verdict, False), (verdict.first_verdict, True)]
    return [
        {"score": _SCORES[word], "rating_label": _LABELS[word], "is_flipped": flipped, "rationale": verdict.rationale}
        for word, flipped in asked
        if word in _SCORES
    ]
