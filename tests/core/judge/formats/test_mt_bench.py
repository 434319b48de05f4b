"""MT-bench judgments in the shape of the published ones, read as verdicts."""

import pandas as pd
import pytest

from core.judge import audit
from core.judge.formats import FORMATS
from core.judge.formats.content import format_of, read
from core.judge.formats.record import BadRecord
from tests.core.judge.formats.reading import verdicts

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
