"""Leaks are held against a brute-force comparison of all pairs."""

import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.data.checks import THRESHOLD, leaks, repeats
from core.config import DataConfig
from core.data.read import QA, read
from core.data.split import Split

PROJECT = Path(__file__).parents[3]
SCHOOLS = [json.loads(line) for line in (PROJECT / "data" / "seven_schools.jsonl").read_text(encoding="utf-8").splitlines()]
ORDER = {"train": 0, "validation": 1, "test": 2}


def qa(question: str, answer: str, split: Split = "train", category: str = "c") -> QA:
    return QA(question, answer, category, split)


def words(row: QA) -> set[str]:
    return set(re.findall(r"\w+", f"{row.question} {row.answer}".casefold()))


def shaken(rows: int, seed: int = 0) -> list[QA]:
    """Shipped rows, some of them copies in another split with a few words exchanged."""
    draw = random.Random(seed)
    words = SCHOOLS[0]["answer"].split()
    made = []
    for number in range(rows):
        source = draw.choice(SCHOOLS[: rows // 3])
        changes = draw.choice([0, 0.02, 0.05, 0.1, 0.3])
        answer = " ".join(draw.choice(words) if draw.random() < changes else word for word in source["answer"].split())
        made.append(qa(f"{source['question']} {number % 7}", answer, draw.choice(["train", "train", "train", "validation", "test"])))
    return made


def test_leaks_are_those_that_comparing_all_pairs_finds() -> None:
    rows = shaken(400)
    sets = [words(row) for row in rows]
    similar: dict[int, dict[int, float]] = {}
    for (row, a), (other, b) in itertools.permutations(enumerate(sets), 2):
        if ORDER[rows[other].split] < ORDER[rows[row].split] and len(a & b) / len(a | b) >= THRESHOLD:
            similar.setdefault(row, {})[other] = len(a & b) / len(a | b)
    found = leaks(rows)
    assert [leak.row for leak in sorted(found, key=lambda leak: leak.row)] == sorted(similar)
    assert len(found) > 40
    for leak in found:
        assert leak.similarity == pytest.approx(similar[leak.row][leak.other], abs=1e-12)


@pytest.mark.parametrize(
    "question", ["What is the capital city of France?", "  what is the capital of FRANCE, please?", "“What is the capital of France”"]
)
def test_a_question_asked_a_little_differently_leaks(question: str) -> None:
    rows = [
        qa("What is the capital of France?", "Paris."),
        qa("What is the capital of Spain?", "Madrid."),
        qa(question, "Paris.", "test", "other"),
    ]
    assert [(leak.row, leak.other) for leak in leaks(rows)] == [(2, 0)]


def test_different_rows_do_not_leak() -> None:
    rows = [
        qa("What is the capital of France?", "Paris."),
        qa("What is the capital of Spain?", "Madrid.", "test"),
        qa("😀", "😀"),
        qa("😁", "!", "test"),
    ]
    assert list(leaks(rows)) == []
    assert list(leaks([qa("Q", "A"), qa("Q", "A")])) == []
    assert list(leaks([])) == []


def test_the_search_tells_how_far_it_is() -> None:
    rows = read(DataConfig(data="data/seven_schools.jsonl")).rows
    told: dict[str, list[tuple[int, int]]] = {}
    leaks(rows, lambda done, total, what: told.setdefault(what, []).append((done, total)))
    held_out = sum(row.split != "train" for row in rows)
    assert list(told) == ["looking for leaks: reading", "looking for leaks: comparing"]
    assert [{total for _, total in each} for each in told.values()] == [{len(rows)}, {held_out}]
    comparing = [done for done, _ in told["looking for leaks: comparing"]]
    assert comparing == sorted(comparing) and comparing[0] < comparing[-1] < held_out


def test_chinese_is_compared_by_character() -> None:
    rows = [
        qa("法国的首都是哪里", "法国的首都是巴黎这座城市"),
        qa("法国首都是哪里", "法国的首都是巴黎这座城市", "test"),
        qa("水为什么会结冰", "因为冷", "test"),
    ]
    assert [leak.row for leak in leaks(rows)] == [1]


def test_the_same_leaks_are_found_in_every_process() -> None:
    code = (
        "from core.config import DataConfig; from core.data.minhash import Fingerprints; from core.data.read import read;"
        "prints = Fingerprints(read(DataConfig()).rows[:50]);"
        "print(prints._bytes.tolist())"
    )
    environments = [{**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2")]
    one, other = (subprocess.run([sys.executable, "-c", code], env=env, cwd=PROJECT, check=True, stdout=-1).stdout for env in environments)
    assert one == other


def test_repeats_are_counted_on_question_and_category() -> None:
    rows = [qa("What is X?", "A"), qa("what is x", "A"), qa("What is X?", "B"), qa("What is X?", "A", category="d"), qa("What is Y?", "A")]
    duplicate, copy = repeats(rows)
    assert duplicate.tolist() == [False, True, True, False, False]
    assert copy.tolist() == [False, True, False, False, False]
