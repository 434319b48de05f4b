"""Overlap and rank-biased overlap against their definitions."""

import random

import numpy as np
import pytest

from core import results
from core.config import RagConfig
from core.rag.differences import overlap, overlaps, rbo
from core.rag.rankings import Found, Ranking
from core.rag.relevance import Relevance

CONFIG = RagConfig(question="?", top_k=2, candidates=10)


def summed(one: list[str], other: list[str], p: float) -> float:
    """(1 - p) times the sum of p^(d - 1) times the agreement at d, to a great depth: beyond the end of a list it goes on agreeing as it did
    (section 4.4 of Webber, Moffat and Zobel 2010)."""
    short, long = sorted((one, other), key=len)
    s, length = len(short), len(long)
    at_s = len({*short} & {*long[:s]})
    total, agreement = 0.0, 0.0
    for d in range(1, 2000):
        if d <= length:
            shared = len({*short[:d]} & {*long[:d]}) + (at_s * (d - s) / s if d > s else 0)
            agreement = shared / d
        total += (1 - p) * p ** (d - 1) * agreement
    return total


@pytest.mark.parametrize("seed", range(30))
def test_rbo_is_its_sum(seed: int) -> None:
    draw = random.Random(seed)
    one, other = (draw.sample("abcdefghijklmnop", draw.randint(1, 14)) for _ in range(2))
    p = draw.choice([0.5, 0.9, 0.98])
    assert rbo(one, other, p) == pytest.approx(summed(one, other, p), abs=1e-9) == rbo(other, one, p)


def test_rbo_of_extremes() -> None:
    assert rbo("abc", "abc") == pytest.approx(1)
    assert rbo("abc", "abcdefgh") == pytest.approx(1)
    assert rbo("abc", "xyz") == 0 == rbo("", "abc")
    assert rbo("ab", "ba", 0.9) == pytest.approx(0.9)  # nothing at depth 1, everything from depth 2 on


def test_overlap_counts_what_both_have_among_the_first() -> None:
    assert overlap("abcd", "badx", 2) == 1
    assert overlap("abcd", "axyz", 4) == 0.25
    assert overlap("ab", "ab", 10) == 1 and overlap("ab", "abcdef", 10) == pytest.approx(1 / 3)
    assert overlap("ab", "", 10) == 0


def ranking(names: str) -> Ranking:
    """Passages by letters; each pair of letters is a section: ab, cd, ..."""
    return Ranking([Found(name, 1 - place / 99, "d", "ABCDE"[(ord(name) - 97) // 2]) for place, name in enumerate(names)], 0.1)


def parents(names: str) -> Ranking:
    return Ranking([Found(name, 1 - place / 99, "d", name) for place, name in enumerate(names)], 0.1)


FOUND = {
    "none": {"1": ranking(""), "2": ranking(""), "3": ranking("")},
    "dense": {"1": ranking("abcd"), "2": ranking("cdab"), "3": ranking("")},
    "bm25": {"1": ranking("badc"), "2": ranking("efab"), "3": ranking("")},
    "parent": {"1": parents("AB"), "2": parents("BA"), "3": parents("")},
}


def values(rows: list[results.Overlap], metric: str, *pair: str) -> dict[str, float]:
    return {row.question_id: row.value for row in rows if row.metric == metric and (row.pipeline, row.other) == pair}


def test_each_pair_has_its_questions_and_their_mean() -> None:
    rows = overlaps("r", FOUND, CONFIG)
    assert values(rows, "overlap@2", "dense", "bm25") == {results.ALL: 0.5, "1": 1.0, "2": 0.0}
    assert values(rows, "overlap@10", "dense", "bm25") == {results.ALL: 0.75, "1": 1.0, "2": 0.5}
    assert values(rows, "rbo", "dense", "bm25")["1"] == pytest.approx(rbo("abcd", "badc"))
    assert {(row.pipeline, row.other) for row in rows} == {("dense", "bm25"), ("dense", "parent"), ("bm25", "parent")}
    [mean] = [row for row in rows if row.question_id == results.ALL and row.metric == "rbo" and row.other == "bm25"]
    assert mean.n == 2 and mean.low is not None and mean.low <= mean.value <= (mean.high or 0)


def test_with_parent_passages_count_as_their_sections() -> None:
    assert values(overlaps("r", FOUND, CONFIG), "rbo", "dense", "parent") == {results.ALL: 1.0, "1": 1.0, "2": 1.0}


def test_what_one_finds_and_the_other_misses() -> None:
    gold = {"1": {"c": 1.0, "d": 1.0}, "2": {"c": 1.0}, "3": {"a": 1.0}}
    rows = overlaps("r", FOUND, CONFIG, Relevance(gold, {each: {"B": 1.0} for each in gold}, {}))
    assert values(rows, "gold_missed_by_other@2", "dense", "bm25") == {results.ALL: pytest.approx(1 / 3), "1": 0.0, "2": 1.0, "3": 0.0}
    assert values(rows, "gold_missed_by_other@2", "bm25", "dense") == {results.ALL: 0.0, "1": 0.0, "2": 0.0, "3": 0.0}
    assert values(rows, "gold_missed_by_other@2", "parent", "dense") == {results.ALL: pytest.approx(1 / 3), "1": 1.0, "2": 0.0, "3": 0.0}


def test_one_question_has_no_interval_and_few_candidates_one_depth() -> None:
    config = RagConfig(question="?", top_k=4, candidates=4)
    rows = overlaps("r", {name: {"1": found["1"]} for name, found in FOUND.items()}, config)
    assert {row.metric for row in rows} == {"overlap@4", "rbo"}
    assert all(row.low is None for row in rows) and np.isfinite([row.value for row in rows]).all()
