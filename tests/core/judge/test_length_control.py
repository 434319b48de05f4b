"""The length-controlled win rate against other regressions, and where it can't be told."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LogisticRegression

from core.judge import length_control
from tests.core.judge.synthetic import SyntheticJudge


def features(table):
    difference = (table["candidate_prediction"].str.len() - table["base_prediction"].str.len()).to_numpy(float)
    return np.tanh(difference / difference.std(ddof=1))


@pytest.fixture
def table():
    return SyntheticJudge(longer=0.5, skill=0.8).verdicts(0, 400).query("verdict != 'tie'").reset_index(drop=True)


def test_it_is_the_penalised_logistic_regression_at_equal_lengths(table):
    won = (table["verdict"] == "fine-tuned").to_numpy(int)
    theirs = LogisticRegression(C=1 / length_control.PENALTY, tol=1e-10).fit(features(table)[:, None], won)
    assert length_control.win_rate(table).value == pytest.approx(1 / (1 + math.exp(-theirs.intercept_[0])), abs=1e-5)


def test_its_interval_is_nearly_the_sandwich_of_statsmodels(table):
    won = (table["verdict"] == "fine-tuned").astype(int)
    theirs = sm.Logit(won, sm.add_constant(features(table))).fit(disp=0, cov_type="cluster", cov_kwds={"groups": table.index.to_numpy()})
    low, high = 1 / (1 + np.exp(-theirs.conf_int().to_numpy()[0]))
    found = length_control.win_rate(table)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_a_judge_of_length_alone_finds_equals_when_lengths_are():
    verdicts = SyntheticJudge(longer=1).verdicts(0, 300)
    longer = verdicts["candidate_prediction"].str.len() > verdicts["base_prediction"].str.len()
    chosen = verdicts[longer | (np.arange(300) % 4 == 0)]  # the candidate is mostly longer, and so mostly wins
    found = length_control.win_rate(chosen)
    assert (chosen["verdict"] == "fine-tuned").mean() > 0.75
    assert found.low < 0.5 < found.high and found.high - found.low > 0.1


def test_ties_are_half_a_win():
    found = length_control.win_rate(SyntheticJudge(first=1).verdicts(0, 200).assign(verdict=["tie"] * 198 + ["base", "fine-tuned"]))
    assert found.value == pytest.approx(0.5, abs=0.01)


def test_it_covers_the_truth():
    rng, inside = np.random.default_rng(0), 0
    for seed in range(40):
        table = SyntheticJudge().verdicts(seed, 80, 2)
        chance = 1 / (1 + np.exp(-0.7 - 1.5 * features(table)))
        found = length_control.win_rate(table.assign(verdict=np.where(rng.random(160) < chance, "fine-tuned", "base")))
        inside += found.low <= 1 / (1 + math.exp(-0.7)) <= found.high
    assert inside >= 36


def test_one_word_or_one_length_tells_nothing(table):
    assert length_control.win_rate(table.assign(verdict="base")).n == 0
    assert length_control.win_rate(table.assign(candidate_prediction="a", base_prediction="b")).n == 0
