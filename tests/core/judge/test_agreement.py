"""Agreement of judges with each other, with people and between runs, against statsmodels."""

import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa

from core.judge.agreement import against, between_judges, with_people
from tests.core.judge.synthetic import SyntheticJudge

WORDS = ["base", "tie", "fine-tuned"]


@pytest.fixture
def one():
    return SyntheticJudge(skill=0.7).verdicts(0, 120)


@pytest.fixture
def other(one):
    """Another judge's verdicts on the same pairs: half of them by the first one's."""
    theirs = SyntheticJudge(skill=0.7, coin=0.5).verdicts(1, 120).assign(judge="k")
    theirs.loc[:59, "verdict"] = one.loc[:59, "verdict"]
    return theirs


def table_of(one, other):
    return [[int(((one == a) & (other == b)).sum()) for b in WORDS] for a in WORDS]


def test_kappa_of_two_judges_is_statsmodels(one, other):
    agreement, kappa = between_judges(pd.concat([one, other]))
    theirs = cohens_kappa(table_of(one["verdict"].to_numpy(), other["verdict"].to_numpy()))
    assert (kappa.value, kappa.low, kappa.high) == pytest.approx((theirs.kappa, theirs.kappa_low, theirs.kappa_upp))
    assert agreement.value == (one["verdict"] == other["verdict"]).mean() and kappa.n == 120
    assert (kappa.judge, kappa.figure) == ("j", "judge_kappa") and kappa.note.startswith("With k: same word")


def test_votes_of_one_reviewer_are_as_another_judge(one, other):
    votes = other.assign(reviewer="ann")[["pair", "verdict", "reviewer"]]
    skipped = votes.head(3).assign(verdict="", reviewer="bo")
    agreement, kappa = with_people(one, pd.concat([votes, skipped]))
    theirs = cohens_kappa(table_of(one["verdict"].to_numpy(), other["verdict"].to_numpy()))
    assert kappa.value == pytest.approx(theirs.kappa) and agreement.n == kappa.n == 120
    assert "1 reviewers' votes on 120 pairs" in kappa.note


def test_several_votes_on_a_pair_do_not_make_it_surer(one, other):
    votes = pd.concat([other.assign(reviewer=name)[["pair", "verdict", "reviewer"]] for name in "abcdef"])
    once, often = (with_people(one, each)[1] for each in (votes[votes["reviewer"] == "a"], votes))
    assert often.n == 720 and often.value == pytest.approx(once.value)
    assert often.high - often.low > 0.9 * (once.high - once.low)


def test_a_judge_against_people_turns_red(one):
    opposed = one["verdict"].map({"base": "fine-tuned", "fine-tuned": "base", "tie": "tie"})
    assert with_people(one, one.assign(verdict=opposed, reviewer="ann"))[1].light == "red"
    assert with_people(one, one.assign(reviewer="ann"))[1].light == "green"
    assert with_people(one, one.assign(reviewer="ann", pair="elsewhere")) == []


def test_mcnemar_against_another_run_is_statsmodels(one, other):
    difference, test = against(one, other.assign(judge="j", run="r2"))
    ours, theirs = one["verdict"] == "fine-tuned", other["verdict"] == "fine-tuned"
    table = [[int((ours & theirs).sum()), int((ours & ~theirs).sum())], [int((~ours & theirs).sum()), int((~ours & ~theirs).sum())]]
    assert test.value == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-12) and test.n == 120
    assert difference.value == pytest.approx(ours.mean() - theirs.mean()) and difference.low < difference.value < difference.high
    assert f"here alone {table[0][1]}, there alone {table[1][0]}" in test.note and "r2" in test.note


def test_runs_of_other_candidates_are_matched_by_question(one, other):
    shuffled = other.assign(pair=other["pair"] + "!", candidate="merged").sample(frac=1, random_state=0).iloc[:100]
    found = against(one, shuffled)[1]
    same = other.loc[sorted(shuffled.index)]
    ours, theirs = one.loc[same.index, "verdict"] == "fine-tuned", same["verdict"] == "fine-tuned"
    assert found.n == 100 and f"here alone {int((ours & ~theirs).sum())}," in found.note


def test_runs_without_a_question_in_common_say_so(one):
    elsewhere = one.assign(pair=one["pair"] + "!", question=one["question"] + "?")
    assert [(each.value, each.n) for each in against(one, elsewhere)] == [(None, 0)] * 2
