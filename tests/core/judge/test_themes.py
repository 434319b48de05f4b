"""Themes of rationales: found, named by their words, in order of size."""

import numpy as np
import pytest

from core.judge import themes
from tests.core.judge.synthetic import SyntheticJudge

TEXTS = [f"the answer {'covers more detail and depth' if each % 3 else 'has a wrong number, incorrect result'}" for each in range(60)]


def test_themes_are_named_by_the_words_that_set_them_apart():
    named = themes.typical(TEXTS, [0 if each % 3 else 1 for each in range(60)])
    assert set(named[0].split(", ")) == {"covers", "more", "detail", "and", "depth"}
    assert set(named[1].split(", ")) == {"has", "wrong", "number", "incorrect", "result"}


def test_clusters_far_apart_are_found_and_the_largest_is_first():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), [40, 30, 20, 10, 5])
    vectors = np.eye(5)[truth] + rng.normal(0, 0.05, (105, 5))
    assert themes.cluster(vectors, 0) == truth.tolist()


def test_rationales_that_are_all_the_same_are_one_theme():
    assert themes.cluster(np.ones((30, 4)), 0) == [0] * 30


def test_too_few_rationales_have_no_themes():
    table = SyntheticJudge().verdicts(0, 60)
    assert themes.find(table, 0) == []
    table.loc[: themes.FEWEST - 2, "rationale"] = "because"
    assert themes.find(table, 0) == []


@pytest.mark.bundled
def test_every_rationale_gets_a_theme():
    table = SyntheticJudge().verdicts(0, 60).assign(rationale=TEXTS)
    rows = themes.find(table, 0)
    assert [row.pair for row in rows] == list(table["pair"]) and {row.run for row in rows} == {"r"}
    sides = [{row.theme for at, row in enumerate(rows) if bool(at % 3) is side} for side in (True, False)]
    assert not sides[0] & sides[1] and "detail" in next(row.words for row in rows if row.theme == 0)
