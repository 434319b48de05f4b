import json
from pathlib import Path
from typing import Any

import pytest

from core.config import DataConfig
from core.data.read import Dataset, read
from core.errors import UserError


def given(folder: Path, *rows: dict[str, Any], **config: Any) -> Dataset:
    path = folder / "rows.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return read(DataConfig(data=str(path), **config))


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        ({"question": "Q", "answer": "A"}, "Q", "A"),
        ({"Question": "Q", " ANSWER": "A"}, "Q", "A"),
        ({"instruction": "Q", "output": "A"}, "Q", "A"),
        ({"instruction": "Q", "input": "", "output": "A"}, "Q", "A"),
        ({"instruction": "Q", "input": "I", "output": "A", "text": "all"}, "Q\n\nI", "A"),
        ({"instruction": "Q", "context": "C", "response": "A"}, "Q\n\nC", "A"),
        ({"prompt": "Q", "completion": "A"}, "Q", "A"),
        ({"input": "Q", "output": "A"}, "Q", "A"),
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}, "Q", "A"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, "Q", "A"),
        ({"messages": json.dumps([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}])}, "Q", "A"),
    ],
)
def test_well_known_columns_are_found(tmp_path: Path, row: dict[str, Any], question: str, answer: str) -> None:
    dataset = given(tmp_path, row)
    assert [(row.question, row.answer, row.category) for row in dataset.rows] == [(question, answer, "general")]


def test_chosen_columns_win_over_well_known_ones(tmp_path: Path) -> None:
    row = {"question": "no", "answer": "no", "category": "no", "frage": "F", "antwort": "A", "fach": "Recht"}
    dataset = given(tmp_path, row, question_column="frage", answer_column="antwort", category_column="fach")
    assert [(row.question, row.answer, row.category) for row in dataset.rows] == [("F", "A", "Recht")]
    assert [row.answer for row in given(tmp_path, row, answer_column="antwort").rows] == ["A"]
    assert [row.question for row in given(tmp_path, {"frage": "F", "response": "R"}, question_column="frage").rows] == ["F"]


def test_a_chosen_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    for column in ("question_column", "answer_column", "category_column"):
        with pytest.raises(UserError, match="no column 'topic'.*question, answer"):
            given(tmp_path, {"question": "Q", "answer": "A"}, **{column: "topic"})


def test_the_first_exchange_of_a_chat_is_taken(tmp_path: Path) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "B"},
    ]
    bad = [{"messages": value} for value in ([], [{"role": "user", "content": "Q"}], "no JSON", ["a"], None)]
    dataset = given(tmp_path, {"messages": chat}, *bad)
    assert [(row.question, row.answer) for row in dataset.rows] == [("Q", "A")]
    assert {reason: drop.count for reason, drop in dataset.dropped.items()} == {
        "the chat has no user message with a reply": 2,
        "the chat is text that is no JSON": 1,
        "the chat is no list of messages": 2,
    }


def test_a_row_without_its_category_is_dropped_not_guessed(tmp_path: Path) -> None:
    dataset = given(tmp_path, {"question": "Q", "answer": "A", "category": "x"}, {"question": "R", "answer": "A", "category": None})
    assert [row.category for row in dataset.rows] == ["x"]
    assert dataset.dropped["the category is missing (empty, null or NaN)"].examples == ("row 2",)
