"""LLM Comparator's JSON, read as verdicts and written from them."""

import json
import math

import pandas as pd
import pytest

from core.judge.formats import FORMATS, llm_comparator
from core.judge.formats.content import read
from core.judge.formats.record import BadRecord
from tests.core.judge.formats.reading import verdicts
from tests.core.judge.synthetic import SyntheticJudge


def test_llm_comparator_ratings_are_paired_by_order(tmp_path):
    ratings = [(1.0, False), (1.5, False), (-0.5, True), (0.0, True), (1.0, False)]
    rated = [{"score": score, "is_flipped": flipped, "rationale": f"because {score}"} for score, flipped in ratings]
    example = {"input_text": "q", "tags": ["x"], "output_text_a": "ours", "output_text_b": "theirs", "custom_fields": {}}
    examples = [
        {**example, "score": 0.6, "individual_rater_scores": rated},
        {**example, "input_text": "q2", "score": -1.0, "individual_rater_scores": []},
        {**example, "input_text": "q3", "score": 0.0, "individual_rater_scores": [{"score": 0.5, "rationale": "r"}]},
    ]
    content = {
        "metadata": {"source_path": "", "custom_fields_schema": []},
        "models": [{"name": "new"}, {"name": "old"}],
        "examples": examples,
    }
    name, table = verdicts(tmp_path / "a.json", content)
    assert name == "llm_comparator" and set(table["candidate"]) == {"new"} and table.iloc[0]["candidate_prediction"] == "ours"
    assert list(table["second_verdict"]) == ["fine-tuned", "fine-tuned", "fine-tuned", "", ""]
    assert list(table["first_verdict"]) == ["base", "tie", "", "", ""]
    assert list(table["verdict"]) == ["tie", "tie", "fine-tuned", "base", "fine-tuned"]
    assert list(table["repeat"]) == [0, 1, 2, 0, 0]


def test_llm_comparator_export_reads_back_and_has_the_documented_fields(tmp_path):
    table = SyntheticJudge(coin=0.5, failed=0.05).verdicts(0, 30, repeats=2).assign(reference="r", rationale="why")
    judged = table[table["verdict"].isin(["base", "tie", "fine-tuned"])].reset_index(drop=True)
    text = llm_comparator.exported(table)
    made = json.loads(text)
    assert set(made) == {"metadata", "models", "examples"} and {"source_path", "custom_fields_schema"} <= set(made["metadata"])
    needed = {"input_text", "tags", "output_text_a", "output_text_b", "score", "individual_rater_scores", "custom_fields"}
    assert all(needed <= set(example) and -1.5 <= example["score"] <= 1.5 for example in made["examples"])
    assert {field["name"] for field in made["metadata"]["custom_fields_schema"]} == set(made["examples"][0]["custom_fields"])
    (tmp_path / "back.json").write_text(text, encoding="utf-8")
    back = pd.DataFrame(FORMATS["llm_comparator"].load()(read(tmp_path / "back.json")))
    kept = [
        "pair",
        "verdict",
        "first_verdict",
        "second_verdict",
        "base_prediction",
        "candidate_prediction",
        "category",
        "reference",
        "judge",
    ]
    assert back[kept].sort_values(kept).values.tolist() == judged[kept].sort_values(kept).values.tolist()


def compared(ratings, **more):
    example = {"input_text": "q", "tags": ["x"], "output_text_a": "a", "output_text_b": "b", "individual_rater_scores": ratings, **more}
    return {"models": [{"name": "new"}, {"name": "old"}], "examples": [example]}


@pytest.mark.parametrize("score", [math.nan, math.inf, "good", True, None])
def test_llm_comparator_scores_that_are_no_numbers_are_no_verdict(tmp_path, score):
    _, table = verdicts(tmp_path / "a.json", compared([], score=score))
    assert table["verdict"].tolist() == ["unparsed"] and "score" in table["reason"].iloc[0]
    _, table = verdicts(tmp_path / "b.json", compared([{"score": score, "is_flipped": True}, {"score": 1, "is_flipped": False}]))
    assert table["first_verdict"].tolist() == ["unparsed"] and table["verdict"].tolist() == ["unparsed"]


@pytest.mark.parametrize(("yes", "no"), [(True, False), (1, 0), ("true", "False"), ("1", "0"), ("yes", "no")])
def test_llm_comparator_flips_are_read_in_any_spelling(tmp_path, yes, no):
    _, table = verdicts(tmp_path / "a.json", compared([{"score": 1, "is_flipped": yes}, {"score": -1, "is_flipped": no}]))
    assert table[["first_verdict", "second_verdict", "verdict"]].values.tolist() == [["fine-tuned", "base", "tie"]]


def test_llm_comparator_ratings_of_unreadable_order_are_kept_and_said(tmp_path):
    _, table = verdicts(tmp_path / "a.json", compared([{"score": 1, "is_flipped": "maybe"}, {"score": -1, "is_flipped": 2}]))
    assert table["verdict"].tolist() == ["fine-tuned", "base"] and (table["first_verdict"] == "").all()
    assert table["reason"].str.contains("is_flipped .* is neither true nor false").all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": [{"name": "A"}]}, "'models' names 1 model,"),
        ({"models": ["A", "B"]}, "'models'"),
        ({"examples": [{"input_text": "q", "output_text_a": "a"}]}, "example 1 has no 'output_text_b'"),
        (
            {"examples": [{"input_text": "q", "output_text_a": "a", "output_text_b": "b", "individual_rater_scores": [None]}]},
            "example 1 has",
        ),
    ],
)
def test_llm_comparator_files_that_break_the_format_are_told(tmp_path, change, said):
    with pytest.raises(BadRecord, match=said):
        verdicts(tmp_path / "a.json", compared([]) | change)
