"""Paired differences against scipy's bootstrap, Holm against statsmodels, and which cells there are."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap
from statsmodels.stats.multitest import multipletests

from core.evaluate.compare import cells, compare
from core.metrics.batch import Measure, mean
from core.results import ALL, GENERAL, OTHERS, Answer, Model

MODELS = [
    Model("base", "base", "", "bundled", ""),
    Model("old-a", "own", "a", "adapters/old-a", ""),
    Model("a-lora", "own", "a", "adapters/a-lora", ""),
    Model("b-lora", "own", "b", "adapters/b-lora", ""),
    Model("merge", "merged", "", "merged_adapters/merge", ""),
]
ASKED = ["a"] * 12 + ["b"] * 9 + ["c"]


def answers(models=MODELS, asked=ASKED):
    return [
        Answer("run", model.model, category, f"q{place}", "r", "p", 1.0, 1, "stop")
        for model, (place, category) in product(models, enumerate(asked))
    ]


def values(shift, seed=0, models=MODELS, asked=ASKED):
    """A figure per answer: hard and easy questions, each model shifted."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 3, len(asked))
    return np.concatenate([hard + shift.get(model.model, 0) + rng.normal(0, 0.5, len(asked)) for model in models])


def by_cell(rows):
    return {(row.model, row.baseline, row.category): row for row in rows}


def test_every_model_meets_the_base_and_merges_meet_the_own_adapters():
    found = {(cell.model, cell.baseline, cell.category): cell for cell in cells(answers(asked=ASKED[:-1]), MODELS)}
    assert {key[2] for key in found if key[:2] == ("merge", "base")} == {"a", "b", ALL}
    assert {key[2] for key in found if key[:2] == ("a-lora", "base")} == {"a", "b", ALL, OTHERS}
    assert {key[2] for key in found if key[:2] == ("merge", "own")} == {"a", "b", ALL}
    assert ("base", "base", ALL) not in found and ("a-lora", "own", ALL) not in found
    made = answers(asked=ASKED[:-1])
    own = found["own", "base", ALL]
    assert [made[place].model for place in own.ours] == ["a-lora"] * 12 + ["b-lora"] * 9, "the newest of two own adapters"
    assert all(
        made[one].question == made[other].question for cell in found.values() for one, other in zip(cell.ours, cell.theirs, strict=True)
    )
    assert {made[place].category for place in found["a-lora", "base", OTHERS].ours} == {"b"}


def test_a_category_without_an_own_adapter_has_no_price_of_merging():
    found = cells(answers(), MODELS)
    assert not [cell for cell in found if cell.baseline == "own"]
    assert [len(cell.ours) for cell in found if cell.model == "own" and cell.category == ALL] == [21]


def test_questions_about_other_matters_are_in_no_total():
    found = {(cell.model, cell.category): len(cell.ours) for cell in cells(answers(asked=[*ASKED, GENERAL]), MODELS)}
    assert found["merge", ALL] == 22 and found["merge", GENERAL] == 1 and found["a-lora", OTHERS] == 10


def test_intervals_are_scipys_of_the_paired_differences():
    figures = values({"merge": 1.0})
    row = by_cell(compare(answers(), MODELS, [mean("figure", figures, "")], seed=0))["merge", "base", ALL]
    base, merge = figures[:22], figures[-22:]
    theirs = bootstrap((merge - base,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)).confidence_interval
    assert row.difference == pytest.approx((merge - base).mean()) and row.n == 22
    assert (row.low, row.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert row.p < 0.05 and row.low > 0


def test_a_ratio_is_taken_of_each_resamples_sums():
    rng = np.random.default_rng(4)
    tokens = np.tile(rng.integers(5, 60, len(ASKED)), len(MODELS)).astype(float)
    losses = tokens * (3 + 0.2 * values({"merge": -1.0}) / 3)
    measure = Measure("perplexity", np.stack([losses, tokens], 1), lambda sums: np.exp(sums[:, 0] / sums[:, 1]), "")
    row = by_cell(compare(answers(), MODELS, [measure], seed=0))["merge", "base", ALL]
    n, few = len(ASKED), slice(0, len(ASKED))

    def difference(ours, theirs, count, axis=-1):
        return np.exp(ours.sum(axis) / count.sum(axis)) - np.exp(theirs.sum(axis) / count.sum(axis))

    theirs = bootstrap(
        (losses[-n:], losses[few], tokens[few]), difference, paired=True, vectorized=True, method="percentile", n_resamples=20_000,
        rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert row.difference == pytest.approx(difference(losses[-n:], losses[few], tokens[few]))
    assert (row.low, row.high) == pytest.approx((theirs.low, theirs.high), rel=0.04)


def test_p_values_of_a_metric_are_held_against_each_other():
    measures = [mean("one", values({"merge": 0.4, "a-lora": 0.3}), ""), mean("other", values({}, seed=3), "")]
    rows = compare(answers(), MODELS, measures, seed=0)
    for name in ("one", "other"):
        tested = [row for row in rows if row.metric == name and row.p is not None]
        expected = multipletests([row.p for row in tested], method="holm")[1]
        assert [row.p_holm for row in tested] == pytest.approx(list(expected))
    assert len(rows) == 2 * len(cells(answers(), MODELS))


def test_the_interval_and_p_agree_and_equal_models_don_t_differ():
    rows = compare(answers(), MODELS, [mean("figure", values({"merge": 0.25}, seed=7), "")], seed=0)
    assert all((row.low > 0 or row.high < 0) == (row.p < 0.05) for row in rows if row.p is not None)
    same = np.tile(np.random.default_rng(0).normal(size=22), len(MODELS))
    assert {row.p for row in compare(answers(), MODELS, [mean("same", same, "")], seed=0) if row.n > 1} == {1.0}


def test_one_question_and_figures_that_are_not_finite_have_a_reason():
    figures = values({})
    found = by_cell(compare(answers(), MODELS, [mean("figure", figures, "")], seed=0))
    assert (found["merge", "base", "c"].p, found["merge", "base", "c"].reason) == (None, "no interval: 1 question, fewer than 6")
    figures[-3] = np.nan
    row = by_cell(compare(answers(), MODELS, [mean("figure", figures, "")], seed=0))["merge", "base", "b"]
    assert (row.difference, row.low, row.reason) == (None, None, "one of the two figures is not finite")


def test_more_cells_get_more_resamples_so_that_holm_can_tell():
    many = [MODELS[0], *(Model(f"m{place}", "merged", "", "", "") for place in range(150))]
    asked = ["a"] * 6
    figures = values({f"m{place}": 9.0 for place in range(150)}, models=many, asked=asked)
    rows = compare(answers(many, asked), many, [mean("figure", figures, "")], seed=0)
    assert len(rows) == 300 and max(row.p_holm for row in rows) < 0.05


@pytest.mark.parametrize(("questions", "tested"), [(5, False), (6, True)])
def test_a_difference_is_tested_from_six_questions_on(questions, tested):
    asked = ["a"] * questions
    rows = by_cell(compare(answers(asked=asked), MODELS, [mean("figure", values({"merge": 9.0}, asked=asked), "")], seed=0))
    row = rows["merge", "base", ALL]
    assert row.difference == pytest.approx(9, abs=1)
    assert (row.low is not None, row.p is not None, row.p_holm is not None) == (tested, tested, tested)
    assert row.reason == ("" if tested else "no interval: 5 questions, fewer than 6")
