"""AlpacaEval annotations in the shape of the published ones, read as verdicts."""

import math

import pandas as pd
import pytest

from core.judge import audit
from core.judge.formats.record import BadRecord
from tests.core.judge.formats.reading import verdicts
from tests.core.judge.synthetic import SyntheticJudge


def annotation(preference, **more):
    texts = {"instruction": f"q {preference} {more}", "output_1": "a base answer", "output_2": "ours"}
    return {
        **texts,
        "generator_1": "gpt4_1106",
        "generator_2": "mine",
        "annotator": "gpt4",
        "dataset": "koala",
        "preference": preference,
        **more,
    }


def weighted(preference, m):
    top = [{"token": "m", "logprob": math.log(m)}, {"token": "M", "logprob": math.log(1 - m)}]
    return annotation(preference, raw_completion={"text": "m", "logprobs": {"content": [{"token": "m", "top_logprobs": top}]}})


def test_alpaca_eval_preferences_are_words(tmp_path):
    name, table = verdicts(tmp_path / "a.json", [annotation(each) for each in (1.0, 2.0, 1.5, 0.0, 1.37, 1.99, None)])
    assert name == "alpaca_eval"
    assert list(table["verdict"]) == ["base", "fine-tuned", "tie", "tie", "base", "fine-tuned", "unparsed"]
    assert (table[["first_verdict", "second_verdict"]] == "").all().all()
    assert set(table["judge"]) == {"gpt4"} and set(table["category"]) == {"koala"} and set(table["candidate"]) == {"mine"}


@pytest.mark.parametrize("preference", [3, -3, 0.99, 2.01, True, False, "1e999", math.inf, "abc", {}, [1], 10**400])
def test_alpaca_eval_preferences_outside_of_its_scale_are_no_verdict(tmp_path, preference):
    _, table = verdicts(tmp_path / "a.json", [annotation(preference), annotation("2")])
    assert list(table["verdict"]) == ["unparsed", "fine-tuned"]
    assert table["reason"].iloc[0].startswith("preference ") and table["reason"].iloc[1] == ""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"output_1": ["x"]}, "record 2 has a list in 'output_1', which has to be a text"),
        (
            {"price_per_example": "9" * 30},
            "record 2 has '999999999999999999999999999999' in 'price_per_example', which is too large a number",
        ),
        ({"price_per_example": "a lot"}, "record 2 has 'a lot' in 'price_per_example', which has to be a number"),
        ({"price_per_example": [1]}, "record 2 has .* in 'price_per_example'"),
        ({"time_per_example": math.inf}, "record 2 has 'inf' in 'time_per_example'"),
    ],
)
def test_alpaca_eval_records_that_break_the_format_are_named(tmp_path, more, said):
    with pytest.raises(BadRecord, match=said):
        verdicts(tmp_path / "a.json", [annotation(1), annotation(1, **more)])


@pytest.mark.parametrize("raw", [[], {"logprobs": {"content": [None]}}, {"logprobs": []}, {"logprobs": {"content": "x"}}])
@pytest.mark.parametrize("named", [None, {"m": ["output_1"]}])
def test_alpaca_eval_replies_of_another_shape_tell_no_order(tmp_path, raw, named):
    top = [{"token": "m", "logprob": 1e6}]
    for held in (raw, {"logprobs": {"content": [{"top_logprobs": top}]}}):
        _, table = verdicts(tmp_path / "a.json", [annotation(1, raw_completion=held, referenced_models=named)])
        assert table.iloc[0][["verdict", "first_verdict", "second_verdict"]].tolist() == ["base", "", ""]


def test_alpaca_eval_order_is_read_where_it_is_told(tmp_path):
    rows = [
        annotation(2.0, referenced_models={"m": "output_2", "M": "output_1"}),
        annotation(1.0, referenced_models={"M": "output_2"}),
        weighted(1.98, m=0.98),
        weighted(1.1, m=0.9),
        weighted(1.5, m=0.5),
    ]
    _, table = verdicts(tmp_path / "a.json", rows)
    assert list(table["first_verdict"]) == ["", "base", "", "base", ""]
    assert list(table["second_verdict"]) == ["fine-tuned", "", "fine-tuned", "", ""]


def test_alpaca_eval_rates_are_those_of_the_file(tmp_path):
    judged = SyntheticJudge(longer=0.4).verdicts(0, 90)
    rows = [
        {**annotation({"base": 1.0, "tie": 1.5, "fine-tuned": 2.0}[row.verdict]), "instruction": row.question}
        | {"output_1": row.base_prediction, "output_2": row.candidate_prediction}
        for row in judged.itertuples()
    ]
    _, table = verdicts(tmp_path / "a.json", rows)
    d = pd.DataFrame(rows)
    longer = d[(d.preference != 1.5) & (d.output_1.str.len() != d.output_2.str.len())]
    theirs = ((longer.preference == 2) == (longer.output_2.str.len() > longer.output_1.str.len())).mean()
    found = {each.figure: each for each in audit.card(table, 0)}
    assert (found["longer_answer_rate"].value, found["longer_answer_rate"].n) == (pytest.approx(theirs), len(longer))
    assert found["win_rate"].value == pytest.approx((d.preference == 2).mean())
