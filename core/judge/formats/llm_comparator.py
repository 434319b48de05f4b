"""LLM Comparator's JSON, both ways. Kahng et al. 2025, doi:10.1109/TVCG.2024.3456354; https://github.com/PAIR-code/llm-comparator

Model A is the candidate, model B the base. Scores are in [-1.5, 1.5]; above 0 A is better, also where `is_flipped` (B was shown first).
Where an example has single ratings they are read, and not its mean score: two ratings that disagree are a tie, whatever their mean.
"""

import json
from dataclasses import replace
from typing import Any

import pandas as pd

from core.judge.answers import Pair
from core.judge.formats.row import numbered, row
from core.results import Verdict

_SCORES = {"fine-tuned": 1.0, "tie": 0.0, "base": -1.0}
_LABELS = {"fine-tuned": "A is better", "tie": "same", "base": "B is better"}


def verdicts(content: dict[str, Any]) -> list[Verdict]:
    """Rows of verdicts.csv: the n-th plain and the n-th flipped rating make a repeat; ratings of unknown order and bare scores one each."""
    candidate, base = (model["name"] for model in content["models"])
    judge = str(content.get("metadata", {}).get("judge") or "LLM Comparator's rater")
    return numbered(each for example in content["examples"] for each in _rows(example, judge, base, candidate))


def _rows(example: dict[str, Any], judge: str, base: str, candidate: str) -> list[Verdict]:
    category = ", ".join(example.get("tags") or ["untagged"])
    reference = str((example.get("custom_fields") or {}).get("reference") or "")
    pair = Pair(base, candidate, category, example["input_text"], reference, _text(example, "b"), _text(example, "a"))
    ratings = [each for each in example.get("individual_rater_scores") or [] if each.get("score") is not None]
    plain, flipped = ([each for each in ratings if each.get("is_flipped") is way] for way in (False, True))
    unknown = [each for each in ratings if each.get("is_flipped") is None]
    if not ratings:
        unknown = [{"score": example.get("score")}]
    rows = []
    for at in range(max(len(plain), len(flipped))):
        rows.append(_row(judge, pair, second=plain[at : at + 1], first=flipped[at : at + 1]))
    rows += [_row(judge, pair, word=[each]) for each in unknown]
    known = (example.get("custom_fields") or {}).get("pair")
    return [replace(each, pair=known or each.pair) for each in rows]


def _row(judge: str, pair: Pair, **ratings: list[dict[str, Any]]) -> Verdict:
    words = {place: _word(each["score"]) for place, said in ratings.items() for each in said}
    reasons = [str(each.get("rationale") or "") for said in ratings.values() for each in said]
    labels = {f"{place}_reply": str(each.get("rating_label") or "") for place, said in ratings.items() for each in said if place != "word"}
    return row(judge, "", pair, **words, **labels, rationale="\n".join(filter(None, reasons)))


def _word(score: Any) -> str:
    return "unparsed" if score is None else "fine-tuned" if score > 0 else "base" if score < 0 else "tie"


def _text(example: dict[str, Any], side: str) -> str:
    text = example[f"output_text_{side}"]
    return text if isinstance(text, str) else "\n".join(str(part) for part in text)


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
