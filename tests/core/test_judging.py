import math

import numpy as np
import pandas as pd
import pytest

from core import judging
from core.results import ALL
from core.stats import wilson


def _verdicts(words, category="a", question=None):
    asked = question or [f"q{place}" for place in range(len(words))]
    return pd.DataFrame({"category": category, "question": asked, "reference": "r", "verdict": words})


def test_win_rates_leave_failures_out_and_count_them():
    words = ["fine-tuned", "fine-tuned", "base", "tie", "failed", "unparsed", "not asked"]
    rates = judging.win_rates(_verdicts(words, ["a"] * 4 + ["b"] * 3)).set_index("category")
    assert list(rates.loc[ALL, ["n", "wins", "ties", "losses", "failed", "not_asked"]]) == [4, 2, 1, 1, 2, 1]
    assert rates.loc[ALL, "win_rate"] == 0.5 and rates.loc["b", "n"] == 0 and math.isnan(rates.loc["b", "win_rate"])
    expected = wilson(2, 4)
    assert tuple(rates.loc["a", ["low", "high"]]) == pytest.approx((expected.low, expected.high))


def test_the_same_question_judged_four_times_is_no_four_questions():
    once = judging.win_rates(_verdicts(["fine-tuned"] * 6 + ["base"] * 4)).iloc[0]
    names = [f"q{place}" for place in range(10)] * 4
    often = judging.win_rates(_verdicts((["fine-tuned"] * 6 + ["base"] * 4) * 4, question=names)).iloc[0]
    fresh = judging.win_rates(_verdicts((["fine-tuned"] * 6 + ["base"] * 4) * 4)).iloc[0]
    assert often["n"] == 40 and often["win_rate"] == once["win_rate"]
    assert often["high"] - often["low"] > 1.5 * (fresh["high"] - fresh["low"])


def test_slices_of_any_name_leave_rows_without_one_out():
    table = _verdicts(["fine-tuned", "base", "tie", "fine-tuned"])
    found = judging.slices(table, pd.Series(["x", "y", None, "x"])).set_index("slice")
    assert list(found.index) == ["x", "y"] and found.loc["x", "wins"] == 2 and found.loc["y", "losses"] == 1


@pytest.mark.parametrize(
    ("candidate", "base", "name"),
    [
        (1, 10, "under half"),
        (5, 10, "shorter"),
        (10, 10, "about as long"),
        (13, 10, "longer"),
        (20, 10, "over twice"),
        (0, 0, "about as long"),
        (3, 0, "over twice"),
    ],
)
def test_lengths_have_names(candidate, base, name):
    assert list(judging.length_names(np.array([candidate]), np.array([base]))) == [name]


def test_people_say_what_most_of_them_say_and_split_is_a_tie():
    votes = pd.DataFrame(
        [("p", "base"), ("p", "base"), ("p", "fine-tuned"), ("q", "base"), ("q", "fine-tuned"), ("r", "tie"), ("s", "")],
        columns=["pair", "verdict"],
    )
    assert judging.people(votes).to_dict() == {"p": "base", "q": "tie", "r": "tie"}
    assert judging.people(votes.iloc[:0]).to_dict() == {}
