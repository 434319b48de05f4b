"""Columns of unknown tables, found by their names in some languages and by their texts."""

import pytest

from core.data.source import Table
from core.data.guess import Guess, guess


def table(columns, *rows):
    return Table(columns, [(place, dict(zip(columns, row, strict=True))) for place, row in enumerate(rows, 1)], "row")


ROWS = [("1", f"Why {n}?", f"Because of {n}, as everybody who looked into the matter knows.", "law" if n % 2 else "art") for n in range(20)]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["id", "question", "answer", "category"], Guess("question", "answer", "category")),
        (["id", "Prompt", "Completion", "Topic"], Guess("Prompt", "Completion", "Topic")),
        (["nr", "Frage", "Antwort", "Thema"], Guess("Frage", "Antwort", "Thema")),
        (["nr", "質問", "回答", "カテゴリ"], Guess("質問", "回答", "カテゴリ")),
        (["id", "customerQuestion", "agent_reply", "department"], Guess("customerQuestion", "agent_reply", "department")),
        (["c1", "c2", "c3", "c4"], Guess("c2", "c3", "c4")),
    ],
)
def test_columns_are_found_by_name_or_by_their_texts(columns, found):
    assert guess(table(columns, *ROWS)) == found


def test_a_table_without_categories_has_none():
    assert guess(table(["id", "q", "a"], *[row[:3] for row in ROWS])) == Guess("q", "a", None)


def test_a_table_of_numbers_and_blanks_has_nothing():
    assert guess(table(["x", "y"], *[(str(n), "") for n in range(9)])) == Guess(None, None, None)
    assert guess(table([], *[])) == Guess(None, None, None)
