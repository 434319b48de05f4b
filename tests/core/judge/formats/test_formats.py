"""Small files in the shape of published ones, read as verdicts."""

import json
import math
from dataclasses import asdict

import pandas as pd
import pytest

from core.errors import UserError
from core.judge import audit
from core.judge.formats import FORMATS, llm_comparator
from core.judge.formats.content import format_of, read
from core.judge.formats.record import BadRecord
from core.results import Verdict
from tests.core.judge.synthetic import SyntheticJudge


def verdicts(path, content, lines=False):
    path.write_text("\n".join(map(json.dumps, content)) if lines else json.dumps(content), encoding="utf-8")
    held = read(path)
    name = format_of(held, path)
    return name, pd.DataFrame(FORMATS[name].load()(held), columns=Verdict.columns())


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


SHOWN = "[User Question]\n{q}\n\n{r}[The Start of Assistant A's Answer]\n{a}\n[The End of Assistant A's Answer]\n\n" \
        "[The Start of Assistant B's Answer]\n{b}\n[The End of Assistant B's Answer]"  # fmt: skip
TALK = "<|The Start of {0}|>\n\n### User:\n{1}\n\n### {2}:\n{3}\n\n### User:\n{4}\n\n### {2}:\n{5}\n\n<|The End of {0}|>"


def game(g1, g2, prompt, template="pair-v2", **more):
    common = {"question_id": 112, "model_1": "mine", "model_2": "baseline", "judge": ["gpt-4", template], "turn": 1}
    return {
        **common,
        "g1_winner": g1,
        "g2_winner": g2,
        "g1_user_prompt": prompt,
        "g1_judgment": "g1 says",
        "g2_judgment": "g2 says",
        **more,
    }


def test_mt_bench_games_are_both_orders(tmp_path):
    reference = "[The Start of Reference Answer]\nforty-two\n[The End of Reference Answer]\n\n"
    prompt = SHOWN.format(q="How\n\nmany?", r=reference, a="42, [[A]]", b="no\nidea")
    games = [("model_1", "model_1"), ("model_1", "model_2"), ("tie", "model_2"), ("error", "model_1"), ("model_2", "model_2")]
    name, table = verdicts(tmp_path / "gpt-4_pair.jsonl", [game(*each, prompt) for each in games], lines=True)
    assert name == "mt_bench"
    assert list(table["second_verdict"]) == ["fine-tuned", "fine-tuned", "tie", "unparsed", "base"]
    assert list(table["first_verdict"]) == ["fine-tuned", "base", "base", "fine-tuned", "base"]
    assert list(table["verdict"]) == ["fine-tuned", "tie", "tie", "unparsed", "base"]
    row = table.iloc[0]
    assert (row["question"], row["reference"], row["candidate_prediction"], row["base_prediction"]) == (
        "How\n\nmany?",
        "forty-two",
        "42, [[A]]",
        "no\nidea",
    )
    assert (row["judge"], row["prompt"], row["category"], row["first_reply"]) == ("gpt-4", "pair-v2", "math", "g2 says")
    found = {each.figure: each for each in audit.card(table, 0)}
    assert (found["flip_rate"].value, found["flip_rate"].n) == (0.5, 4)
    assert (found["first_position_rate"].value, found["first_position_rate"].n) == (pytest.approx(5 / 8), 8)
    assert list(table["repeat"]) == [0, 1, 2, 3, 4]


def test_mt_bench_talks_of_two_turns_keep_all_answers(tmp_path):
    parts = [("Reference Answer", "Reference answer", "one", "two")]
    parts += [(f"Assistant {side}'s Conversation with User", f"Assistant {side}", f"{side}1", f"{side}2\n\nmore") for side in "AB"]
    prompt = "\n\n\n".join(TALK.format(name, "first?", who, early, "second?", late) for name, who, early, late in parts)
    _, table = verdicts(tmp_path / "a.jsonl", [game("tie", "tie", prompt, "pair-math-v1-multi-turn", turn=2)] * 2, lines=True)
    row = table.iloc[0]
    assert (row["candidate_prediction"], row["base_prediction"]) == ("A1\n\nA2\n\nmore", "B1\n\nB2\n\nmore")
    assert (row["question"], row["reference"]) == ("first?\n\nsecond?", "one\n\ntwo")


def test_mt_bench_of_scores_has_no_order(tmp_path):
    _, table = verdicts(tmp_path / "a.jsonl", [game("model_1", "model_1", "", m1_score=9, m2_score=4)], lines=True)
    assert table.iloc[0][["verdict", "first_verdict", "second_verdict"]].tolist() == ["fine-tuned", "", ""]


def test_mt_bench_judgments_of_people(tmp_path):
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "answer"}]
    record = {"question_id": 81, "model_a": "mine", "model_b": "baseline", "judge": "expert_0", "turn": 1}
    record |= {"conversation_a": talk, "conversation_b": [talk[0], {"role": "assistant", "content": "other"}]}
    rows = [{**record, "winner": winner} for winner in ("model_a", "model_b", "tie", "tie (inconsistent)")]
    pd.DataFrame(rows).to_parquet(tmp_path / "people.parquet")
    held = read(tmp_path / "people.parquet")
    table = pd.DataFrame(FORMATS[format_of(held, tmp_path)].load()(held))
    assert list(table["verdict"]) == ["fine-tuned", "base", "tie", "tie"] and table["reason"].iloc[3] == "both orders disagreed"
    assert (table.iloc[0]["candidate_prediction"], table.iloc[0]["base_prediction"], table.iloc[0]["category"]) == (
        "answer",
        "other",
        "writing",
    )


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"judge": []}, "record 1 names no judge"),
        ({"judge": None}, "record 1 names no judge"),
        ({"g1_winner": ["model_1"]}, "record 1 has a list in 'g1_winner'"),
        ({"model_2": {}}, "record 1 has an object in 'model_2'"),
    ],
)
def test_mt_bench_records_that_break_the_format_are_named(tmp_path, change, said):
    with pytest.raises(BadRecord, match=said):
        verdicts(tmp_path / "a.jsonl", [game("tie", "tie", "") | change], lines=True)


def test_mt_bench_unknown_winner_is_told(tmp_path):
    record = {"question_id": "own-7", "model_a": "mine", "model_b": "baseline", "winner": "nobody"}
    _, table = verdicts(tmp_path / "a.jsonl", [record], lines=True)
    assert table.iloc[0][["verdict", "reason", "category"]].tolist() == ["unparsed", "winner is 'nobody'", "mt_bench"]


@pytest.mark.parametrize(
    ("words", "read_as"),
    [
        (("WINNER", "", ""), ["unparsed", "", ""]),
        (("base", "weird", "fine-tuned"), ["unparsed", "unparsed", "fine-tuned"]),
        (("", "", ""), ["unparsed", "", ""]),
        (("tie", "base", "fine-tuned"), ["tie", "base", "fine-tuned"]),
    ],
)
def test_unknown_words_in_lyceums_table_are_unparsed(tmp_path, words, read_as):
    row = dict(zip(("verdict", "first_verdict", "second_verdict"), words, strict=True)) | {"judge": "j"}
    pd.DataFrame([row | {"base_prediction": "a", "candidate_prediction": "b"}]).to_csv(tmp_path / "v.csv", index=False)
    found = FORMATS["lyceum"].load()(read(tmp_path / "v.csv"))[0]
    assert [found.verdict, found.first_verdict, found.second_verdict] == read_as
    assert bool(found.reason) == (list(words) != read_as)


@pytest.mark.parametrize(("column", "value"), [("tokens", "inf"), ("tokens", "many"), ("cost", "-inf")])
def test_numbers_of_lyceums_table_are_told_where_they_are_none(tmp_path, column, value):
    (tmp_path / "v.csv").write_text(f"judge,verdict,base_prediction,candidate_prediction,{column}\nj,tie,a,b,{value}\n")
    with pytest.raises(BadRecord, match=f"record 1 has '{value}' in '{column}'"):
        FORMATS["lyceum"].load()(read(tmp_path / "v.csv"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", '[{"a": "x"}, {"a": "\\ud800"}]', "record 2 holds half a character"),
        ("a.jsonl", '{"a": 1}\n{broken\n', "line 2: "),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "Line 3 of .* has 3 cells, and its head has 2"),
        ("a.csv", "a,b,a\n1,2,3\n", "more than one column called a"),
    ],
)
def test_broken_files_are_told_with_the_place(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        read(tmp_path / name)


def test_whole_characters_in_escapes_and_quoted_line_ends_are_read(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": "\\ud83d\\ude00"}]')
    assert read(tmp_path / "a.json") == [{"a": "\U0001f600"}]
    (tmp_path / "a.csv").write_text('a,b\n"1\n\n2, 3",x\n\n')
    assert read(tmp_path / "a.csv") == [{"a": "1\n\n2, 3", "b": "x"}]


def test_lyceums_own_table_reads_back(tmp_path):
    table = SyntheticJudge().verdicts(0, 5).assign(first_reply="A", second_reply="B", tokens=3, seconds=0.5, reason="", cost=None)
    table.drop(columns=["rationale", "cost"]).to_csv(tmp_path / "v.csv", index=False)
    held = read(tmp_path / "v.csv")
    rows = FORMATS[format_of(held, tmp_path)].load()(held)
    assert [asdict(row)["verdict"] for row in rows] == list(table["verdict"])
    assert (rows[0].tokens, rows[0].seconds, rows[0].cost, rows[0].rationale, rows[0].pair) == (3, 0.5, None, "", "p0")


@pytest.mark.parametrize("text", ["", "[]", "no json", "[1, 2]", "\x00\x01", '{"a": 1'])
def test_a_file_without_records_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="Give a"):
        read(tmp_path / "a.json")


def test_an_unknown_format_is_told_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="in no known format of verdicts: it has foo. Known are: .*AlpacaEval"):
        format_of([{"foo": 1}], tmp_path)
