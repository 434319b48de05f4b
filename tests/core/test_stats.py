"""Intervals and tests against scipy's and statsmodels', and against what they promise."""

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from core import stats


def test_wilson_agrees_with_published_intervals():
    estimate = stats.wilson(193, 194)
    assert (round(estimate.low, 3), round(estimate.high, 3)) == (0.971, 0.999)
    estimate = stats.wilson(81, 263)  # Newcombe 1998, Stat. Med. 17, table I: 0.2553 to 0.3662
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 20), (193, 194), (500, 1000)])
def test_wilson_is_statsmodels(successes, n):
    found = stats.wilson(successes, n)
    assert (found.value, found.n) == (successes / n, n)
    assert (found.low, found.high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)


def test_nothing_has_no_share():
    assert math.isnan(stats.wilson(0, 0).value) and math.isnan(stats.clustered([], []).value)


def test_one_row_per_cluster_is_wilson():
    hits = np.random.default_rng(0).integers(0, 2, 40)
    assert stats.clustered(hits, np.arange(40)) == stats.wilson(int(hits.sum()), 40)


def test_rows_that_repeat_their_cluster_add_nothing():
    hits = np.random.default_rng(0).integers(0, 2, 40)
    once, thrice = stats.wilson(int(hits.sum()), 40), stats.clustered(np.repeat(hits, 3), np.repeat(np.arange(40), 3))
    assert thrice.value == once.value and thrice.n == 120
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.1)


@pytest.mark.parametrize("hits", [np.zeros(20), np.ones(20), np.tile([0, 1], 10)])
def test_an_interval_never_collapses(hits):
    found = stats.clustered(hits, np.repeat(np.arange(10), 2))
    alone = stats.wilson(int(hits.sum()) // 2, 10)
    assert 0.05 < found.high - found.low < 1.2 * (alone.high - alone.low)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("spread", [0.0, 0.25])
def test_clustered_shares_cover_the_truth(share, spread):
    """Clusters of 1 to 6 rows whose own shares spread around the truth (beta distributed) as far as they can."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(300):
        sizes = rng.integers(1, 7, 60)
        own = rng.beta(share / (spread or 1e-6), (1 - share) / (spread or 1e-6), 60)
        drawn = rng.random(sizes.sum()) < np.repeat(own, sizes)
        found = stats.clustered(drawn, np.repeat(np.arange(60), sizes))
        hits += found.low <= share <= found.high
    assert hits >= 273  # 91 %


def test_a_bootstrap_of_a_mean_is_scipys():
    values = np.random.default_rng(1).normal(3, 2, 60)
    found = stats.bootstrap(values[:, None] / 60, lambda sums: sums[:, 0], seed=0)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2))
    assert found == pytest.approx(tuple(theirs.confidence_interval), abs=0.06)


def test_a_bootstrap_of_a_ratio_draws_questions_not_tokens():
    rng = np.random.default_rng(3)
    tokens = rng.integers(5, 80, 40).astype(float)
    losses = tokens * rng.uniform(2, 4, 40)
    found = stats.bootstrap(np.stack([losses, tokens], 1), lambda sums: np.exp(sums[:, 0] / sums[:, 1]), seed=0)
    theirs = scipy.stats.bootstrap(
        (losses, tokens), lambda a, b, axis=-1: np.exp(a.sum(axis) / b.sum(axis)), paired=True, vectorized=True,
        method="percentile", n_resamples=20_000, rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    assert found == pytest.approx((theirs.low, theirs.high), rel=0.03)


def test_a_bootstrap_covers_the_truth_about_95_times_in_100():
    rng, hits = np.random.default_rng(5), 0
    for _ in range(200):
        low, high = mean_interval(rng.normal(1.0, 1.0, 50))
        hits += low <= 1.0 <= high
    assert 180 <= hits <= 199


def test_the_seed_decides():
    values = np.random.default_rng(6).normal(size=30)
    assert mean_interval(values, 0) == mean_interval(values, 0) != mean_interval(values, 1)


def test_one_question_and_endless_values_have_no_interval():
    assert mean_interval(np.array([1.0])) is None
    assert mean_interval(np.array([1.0, np.inf])) is None


def test_every_resample_draws_as_many_questions_as_there_are():
    counts = stats.draws(17, 0)
    assert counts.shape == (stats.RESAMPLES, 17) and (counts.sum(1) == 17).all()


def test_sums_per_cluster_keep_the_order_of_appearance():
    sums = stats.per_cluster(np.array([[1.0, 1], [2, 1], [4, 1]]), ["b", "a", "b"])
    assert sums.tolist() == [[5, 2], [2, 1]]


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (3, 3), (5, 12), (0, 9), (121, 59), (700, 600)])
def test_mcnemar_is_statsmodels(one, other):
    theirs = 1.0 if one == other == 0 else mcnemar([[10, one], [other, 10]], exact=True).pvalue
    assert stats.mcnemar(one, other) == pytest.approx(theirs, abs=1e-12)


def test_kappa_is_statsmodels():
    rng = np.random.default_rng(7)
    one = rng.choice(["base", "fine-tuned", "tie"], 80)
    other = np.where(rng.random(80) < 0.6, one, rng.choice(["base", "fine-tuned"], 80))
    words = ["base", "fine-tuned", "tie"]
    table = [[int(((one == a) & (other == b)).sum()) for b in words] for a in words]
    theirs, found = cohens_kappa(table), stats.kappa(list(one), list(other))
    assert (found.value, found.low, found.high) == pytest.approx((theirs.kappa, theirs.kappa_low, theirs.kappa_upp), abs=1e-12)
    assert found.n == 80


def test_kappa_is_1_at_full_agreement_and_nothing_where_there_is_one_word():
    assert stats.kappa(["a", "b"] * 5, ["a", "b"] * 5).value == pytest.approx(1)
    assert math.isnan(stats.kappa(["a", "a"], ["a", "a"]).value)


@pytest.mark.parametrize("p_values", [[0.01, 0.04, 0.03, 0.005], [0.5], [0.9, 0.9, 0.01], [], [0.02, 0.02, 0.02]])
def test_holm_is_statsmodels(p_values):
    theirs = multipletests(p_values, method="holm")[1] if p_values else []
    assert stats.holm(p_values) == pytest.approx(list(theirs), abs=1e-12)


def mean_interval(values, seed=0):
    return stats.bootstrap(np.stack([values, np.ones_like(values)], 1), lambda sums: sums[:, 0] / sums[:, 1], seed)


def test_resamples_of_many_questions_are_the_same_drawn_piece_by_piece(monkeypatch):
    found = np.random.default_rng(0).random((60, 2))
    whole = stats.resampled(found, lambda sums: sums[:, 0] / sums[:, 1], 7)
    monkeypatch.setattr(stats, "CELLS", 60 * 17)
    assert stats.resampled(found, lambda sums: sums[:, 0] / sums[:, 1], 7) == pytest.approx(whole, rel=1e-12)
