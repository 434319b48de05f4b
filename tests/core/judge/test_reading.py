"""Replies are read strictly: what is not exactly what was asked for is no verdict."""

import pytest

from core.judge.reading import json_object, leading_word, word


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        *((text, "A") for text in ("A", "a", " A.\n", "**A**", "Answer A", "answer_a", '"A"', "(A)", "<think>B? no.</think>\nA")),
        *((text, "B") for text in ("B", "[B]", "`b`")),
        *((text, "tie") for text in ("tie", "Tie.", "TIE!")),
        *((text, None) for text in ("", " ", "AB", "A B", "A or B", "I choose A", "neither", "A is closer", "Both", "C", "A\nB", "ties")),
        ("<think>A</think> because B", None),
        ("<html>A</html>", None),
    ],
)
def test_one_word_and_nothing_else(reply: str, choice: str | None) -> None:
    found = word(reply)
    assert found.choice == choice and bool(found.reason) == (choice is None)


@pytest.mark.parametrize(
    ("reply", "choice", "rationale"),
    [
        ('{"reasons": "A says what the reference says.", "verdict": "A"}', "A", "A says what the reference says."),
        ('```json\n{"reasons": " same ", "verdict": "tie"}\n```', "tie", "same"),
        ('<think>hm</think>{"verdict": "b"}', "B", ""),
        ('{"reasons": 3, "verdict": "A"}', "A", ""),
        ('{"reasons": "no idea", "verdict": "C"}', None, "no idea"),
        ('{"reasons": "both"}', None, "both"),
        ('{"verdict": "A", "verdict": "B"}', None, ""),
        ('{"verdict": "A"} {"verdict": "A"}', None, ""),
        ('Sure! {"verdict": "A"}', None, ""),
        ('{"verdict": "A"', None, ""),
        ('["A"]', None, ""),
        ('{"reasons": "half \\ud83d", "verdict": "A"}', "A", "half ?"),
        ('{"verdict": ["A"]}', None, ""),
        ("[" * 100_000, None, ""),
        ("A", None, ""),
        ("", None, ""),
    ],
)
def test_one_json_object_and_nothing_else(reply: str, choice: str | None, rationale: str) -> None:
    found = json_object(reply)
    assert (found.choice, found.rationale) == (choice, rationale) and bool(found.reason) == (choice is None)


def test_baselines_say_their_word_first() -> None:
    assert leading_word("B (cosine with the reference: A 0.1, B 0.3)").choice == "B"
    assert leading_word("tie (equal)").choice == "tie"
