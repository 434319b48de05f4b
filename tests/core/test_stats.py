"""Bootstrap intervals against scipy's, and against what they promise."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from core.evaluate.batch import Measure, mean
from core.evaluate.stats import RESAMPLES, draws, interval


def test_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(1).normal(3, 2, 60)
    low, high = interval(mean("figure", values, ""), np.arange(60), seed=0)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.06)


def test_interval_of_a_ratio_draws_questions_not_tokens():
    rng = np.random.default_rng(3)
    tokens = rng.integers(5, 80, 40).astype(float)
    losses = tokens * rng.uniform(2, 4, 40)
    measure = Measure("perplexity", np.stack([losses, tokens], 1), lambda sums: np.exp(sums[:, 0] / sums[:, 1]), "")
    low, high = interval(measure, np.arange(40), seed=0)
    theirs = bootstrap(
        (losses, tokens), lambda a, b, axis=-1: np.exp(a.sum(axis) / b.sum(axis)), paired=True, vectorized=True,
        method="percentile", n_resamples=20_000, rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((theirs.low, theirs.high), rel=0.03)


def test_it_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        low, high = interval(mean("figure", rng.normal(1.0, 1.0, 50), ""), np.arange(50), seed=0)
        hits += low <= 1.0 <= high
    assert 180 <= hits <= 199


def test_the_seed_decides():
    measure = mean("figure", np.random.default_rng(6).normal(size=30), "")
    rows = np.arange(30)
    assert interval(measure, rows, 0) == interval(measure, rows, 0) != interval(measure, rows, 1)


def test_only_the_asked_questions_count():
    values = np.concatenate([np.zeros(20), np.full(20, 9.0)])
    assert interval(mean("figure", values, ""), np.arange(20, 40), 0) == (9.0, 9.0)


def test_one_question_and_endless_values_have_no_interval():
    assert interval(mean("figure", np.array([1.0]), ""), np.array([0]), 0) is None
    assert interval(mean("figure", np.array([1.0, np.inf]), ""), np.array([0, 1]), 0) is None


def test_every_resample_draws_as_many_questions_as_there_are():
    counts = draws(17, 0)
    assert counts.shape == (RESAMPLES, 17) and (counts.sum(1) == 17).all()
