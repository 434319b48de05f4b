import json
from collections import Counter
from pathlib import Path

import pytest

from core.data.split import SHARES, normalise, split_of

SCHOOLS = Path(__file__).parents[3] / "data" / "seven_schools.jsonl"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is wealth?", "what is  WEALTH"),
        ("What is wealth?", " What is wealth ?!"),
        ("What do people mean by “seal”?", 'What do people mean by "seal"?'),
        ("What is wealth？", "What is wealth?"),  # noqa: RUF001
        ("STRASSE", "straße"),
    ],
)
def test_the_same_question_in_another_dress_has_the_same_split(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert split_of(one) == split_of(other)


@pytest.mark.parametrize(("one", "other"), [("What is 2+2?", "What is 2-2?"), ("What is C?", "What is C#?"), ("¿?", "!!"), ("😀", "😁")])
def test_another_question_stays_another(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_splits_never_change() -> None:
    """Golden: these were written down with the first shipped results, whose held-out scores rest on them."""
    golden = {"What is a railroad?": "train", "Explain anger to me.": "train", "What is wealth?": "train"}
    questions = [json.loads(line)["question"] for line in SCHOOLS.read_text(encoding="utf-8").splitlines()]
    assert {question: split_of(question) for question in golden} == golden
    assert Counter(map(split_of, questions)) == {"train": 1210, "validation": 159, "test": 171}


def test_shares_are_80_10_10() -> None:
    counts = Counter(split_of(f"Question number {number}") for number in range(20_000))
    for split, share in SHARES.items():
        assert counts[split] / 20_000 == pytest.approx(share, abs=0.01)
