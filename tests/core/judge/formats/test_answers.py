"""Answers made elsewhere, read as rows that can be judged."""

import json

import pandas as pd
import pytest

from core.config import PairsConfig
from core.errors import UserError
from core.judge import answers
from core.judge.formats.answers import foreign


def pairs(place, base, candidate):
    config = PairsConfig(answers=str(place), base=base, candidate=candidate)
    return answers.pair(answers.find(config), config).pairs


def outputs(name):
    return [{"instruction": f"q{each}", "output": f"{name} {each}", "generator": name, "dataset": "koala"} for each in range(3)]


def test_alpaca_eval_outputs_of_two_models(tmp_path):
    (tmp_path / "both.json").write_text(json.dumps(outputs("one") + outputs("two")))
    found = pairs(tmp_path / "both.json", "one", "two")
    assert [(each.question, each.base_prediction, each.candidate_prediction) for each in found][1] == ("q1", "one 1", "two 1")
    assert len(found) == 3 and found[0].category == "koala"


def test_a_folder_of_alpaca_eval_outputs(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text(json.dumps(outputs(name)))
    assert len(pairs(tmp_path, "two", "one")) == 3


def test_alpaca_eval_annotations_can_be_judged_again(tmp_path):
    row = {"instruction": "q", "output_1": "x", "output_2": "y", "generator_1": "one", "generator_2": "two", "preference": 1}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    assert [(each.base_prediction, each.candidate_prediction) for each in pairs(tmp_path / "a.json", "one", "two")] == [("x", "y")]


@pytest.mark.parametrize(
    ("columns", "base", "candidate"),
    [
        (["question", "answer", "base_prediction", "fine_tuned_prediction", "judgment"], "base", "fine_tuned"),
        (["question", "reference", "gpt-4", "llama"], "gpt-4", "llama"),
        (["prompt", "ground_truth", "response_a", "response_b"], "response_a", "response_b"),
    ],
)
def test_a_csv_of_two_systems(tmp_path, columns, base, candidate):
    pd.DataFrame([["q", "truth", "None", "ours", "x"][: len(columns)]], columns=columns).to_csv(tmp_path / "a.csv", index=False)
    found = pairs(tmp_path / "a.csv", base, candidate)
    assert [(each.question, each.reference, each.base_prediction, each.candidate_prediction) for each in found] == [
        ("q", "truth", "None", "ours")
    ]


@pytest.mark.parametrize("text", ["run,model,category,question,reference,prediction\n", "question,answer,gpt\nq,r,x\n", "a,b\n1,2\n", ""])
def test_other_tables_are_left_alone(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    assert foreign(tmp_path / "a.csv") is None


def test_json_without_answers_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "x"}]')
    with pytest.raises(UserError, match="has no answers: it has text. Give an answers.csv, AlpacaEval outputs"):
        foreign(tmp_path / "a.json")


def test_a_record_without_its_answer_is_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"instruction": "q", "output": "x"}, {"instruction": "q"}]))
    with pytest.raises(UserError, match=r"a\.json can't be read as AlpacaEval's answers: record 2 has no 'output'\."):
        foreign(tmp_path / "a.json")


@pytest.mark.parametrize("head", ["question,base,tuned", "model,category,question,reference,prediction"])
@pytest.mark.parametrize(("line", "cells"), [("{},extra", "one more"), ("q", "fewer")])
def test_a_line_of_another_length_than_the_head_is_told(tmp_path, head, line, cells):
    (tmp_path / "a.csv").write_text(f"{head}\n{head}\n{line.format(head)}\n")
    with pytest.raises(UserError, match=r"Line 3 of .*a\.csv has \d cells?, and its head has \d"):
        pairs(tmp_path / "a.csv", "base", "tuned")


@pytest.mark.parametrize("head", ["question,base,base,tuned", "model,model,category,question,reference,prediction"])
def test_two_columns_of_one_name_are_refused(tmp_path, head):
    (tmp_path / "a.csv").write_text(f"{head}\n{head}\n")
    with pytest.raises(UserError, match="more than one column called (base|model)"):
        pairs(tmp_path / "a.csv", "base", "tuned")


def test_a_table_in_another_encoding_is_told(tmp_path):
    (tmp_path / "a.csv").write_bytes("question,base,tuned\nq,x,\u00e9\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        pairs(tmp_path / "a.csv", "base", "tuned")
