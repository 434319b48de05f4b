"""The audit card against judges whose faults are known, and against counts by hand."""

import random
from collections import Counter
from dataclasses import asdict

import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from core.judge import audit
from core.results import AuditFigure
from tests.core.judge.synthetic import SyntheticJudge


def about(figures: list[AuditFigure], judge: str | None = None) -> dict[str, AuditFigure]:
    """The figures of a judge; of the only one, or of all together."""
    judges = {each.judge for each in figures}
    wanted = judge if judge is not None else next(iter(judges)) if len(judges) == 1 else ""
    return {each.figure: each for each in figures if each.judge == wanted}


def judge(draw: random.Random) -> tuple[SyntheticJudge, dict[str, int]]:
    faults = {"first": (0, 0.05, 0.2, 0.6), "longer": (0, 0.1, 0.3), "coin": (0, 0.1), "failed": (0, 0.02, 0.2), "unparsed": (0, 0.05)}
    made = SyntheticJudge(**{name: draw.choice(values) for name, values in faults.items()}, skill=draw.choice((0.5, 0.9)))
    return made, {"questions": draw.choice((40, 100)), "candidates": draw.choice((1, 3)), "repeats": draw.choice((1, 2))}


def test_intervals_cover_the_true_rates_of_fifty_judges():
    draw, inside, seen = random.Random(0), Counter(), Counter()
    for seed in range(50):
        made, shape = judge(draw)
        found = about(audit.card(made.verdicts(seed, **shape), 0))
        for name, truth in made.rates().items():
            if found[name].n:
                seen[name] += 1
                inside[name] += found[name].low - 1e-12 <= truth <= found[name].high + 1e-12
    assert min(seen.values()) >= 15
    assert {name: inside[name] / seen[name] for name in seen if inside[name] < 0.9 * seen[name]} == {}


@pytest.mark.parametrize(("coin", "failed"), [(0, 0), (0.3, 0), (0.3, 0.05)])
@pytest.mark.parametrize(("questions", "candidates"), [(8, 1), (100, 1), (30, 3)])
def test_a_fair_judge_stays_green(coin, failed, questions, candidates):
    fair = SyntheticJudge(coin=coin, failed=failed, unparsed=failed / 2)
    lights = [audit.lights(audit.card(fair.verdicts(seed, questions, candidates, repeats=2), 0)) for seed in range(3)]
    assert set(lights) == {"green"}


@pytest.mark.parametrize("questions", [8, 40, 200])
def test_a_judge_that_always_says_first_is_red(questions):
    found = about(audit.card(SyntheticJudge(first=1).verdicts(0, questions), 0))
    assert (found["flip_rate"].value, found["first_position_rate"].value) == (1, 1)
    assert found["flip_rate"].light == "red" and found["first_position_rate"].light == ("red" if questions > 8 else "amber")
    assert audit.lights(list(found.values())) == "red"


@pytest.mark.parametrize(
    ("faults", "figure"),
    [
        ({"first": 0.8}, "first_position_rate"),
        ({"longer": 1}, "longer_answer_rate"),
        ({"failed": 0.5}, "failed"),
        ({"unparsed": 0.5}, "unparsed"),
    ],
)
def test_a_gross_fault_is_red_and_a_smaller_one_amber(faults, figure):
    gross = about(audit.card(SyntheticJudge(**faults).verdicts(0, 300), 0))
    smaller = about(audit.card(SyntheticJudge(**{name: 0.45 * value for name, value in faults.items()}).verdicts(0, 300), 0))
    assert (gross[figure].light, smaller[figure].light) == ("red", "amber")
    assert "Red: the whole interval is above" in gross[figure].note


def test_a_coin_does_not_agree_with_itself():
    found = about(audit.card(SyntheticJudge(coin=1).verdicts(0, 300, repeats=4), 0))
    assert found["repeat_agreement"].value == pytest.approx(0.375, abs=0.05) and found["repeat_agreement"].light != "green"


def test_a_better_candidate_that_is_longer_is_no_bias():
    table = SyntheticJudge(skill=1).verdicts(0, 200)
    table["candidate_prediction"] = table["base_prediction"] + " and more"
    table.loc[:9, "candidate_prediction"] = ""
    found = about(audit.card(table, 0))
    assert found["longer_answer_rate"].value == 0.95 and found["longer_answer_rate"].light == "green"
    assert "better side that is longer" in found["longer_answer_rate"].note


def test_figures_by_hand():
    rows = [
        ("fine-tuned", "fine-tuned", "long candidate", "base"),
        ("base", "fine-tuned", "long candidate", "base"),
        ("tie", "base", "same", "same"),
        ("failed", "base", "x", "longer base"),
        ("unparsed", "tie", "x", "y"),
        ("", "fine-tuned", "short", "longer base"),
    ]
    found = about(audit.card(table_of(rows), 0))
    assert (found["flip_rate"].value, found["flip_rate"].n) == (2 / 3, 3)
    assert (found["reversal_rate"].value, found["reversal_rate"].n) == (1 / 2, 2)
    # the first of base-first replies: 'base' of row 2; of candidate-first replies: rows 1, 2 and 6 'fine-tuned', rows 3 and 4 not
    assert (found["first_position_rate"].value, found["first_position_rate"].n) == (pytest.approx(4 / 7), 7)
    assert (found["longer_answer_rate"].value, found["longer_answer_rate"].n) == (pytest.approx(4 / 6), 6)
    assert (found["failed"].value, found["failed"].n, found["unparsed"].value) == (1 / 11, 11, 1 / 11)
    assert (found["win_rate"].value, found["win_rate"].n) == (2 / 4, 4)
    assert found["win_rate_ties_half"].value == 3 / 4


def test_independent_questions_have_wilsons_interval():
    found = about(audit.card(SyntheticJudge(coin=0.4).verdicts(1, 50), 0))["flip_rate"]
    theirs = proportion_confint(round(found.value * found.n), found.n, method="wilson")
    assert (found.low, found.high) == pytest.approx(theirs, abs=1e-12) and found.n == 50


def test_candidates_of_one_question_do_not_make_it_surer():
    table = SyntheticJudge(coin=0.4).verdicts(1, 50)
    many = pd.concat([table.assign(candidate=f"c{each}", pair=table["pair"] + f"-{each}") for each in range(10)])
    once, tenfold = (about(audit.card(each, 0))["win_rate"] for each in (table, many))
    assert tenfold.n == 10 * once.n
    assert tenfold.high - tenfold.low > 0.9 * (once.high - once.low)


def test_what_was_not_asked_counts_in_nothing_else():
    table = table_of([("fine-tuned", "fine-tuned", "a", "b")] * 3 + [("", "", "a", "b")])
    table.loc[3, "verdict"] = "not asked"
    found = about(audit.card(table, 0))
    assert found["not_asked"].value == 0.25
    assert (found["win_rate"].n, found["failed"].n, found["flip_rate"].n) == (3, 6, 3)


def test_verdicts_of_unknown_order_have_no_flips_and_no_position():
    table = SyntheticJudge().verdicts(0, 50).assign(first_verdict="", second_verdict="")
    found = about(audit.card(table, 0))
    assert found["flip_rate"].value is None and found["first_position_rate"].value is None and found["flip_rate"].light == ""
    assert found["longer_answer_rate"].n == 50 and found["own_family_rate"].note.startswith("No value")
    for name in ("flip_rate", "reversal_rate", "first_position_rate"):
        assert (found[name].n, found[name].note) == (0, "Order not tested: each pair was asked in one order.")


def test_one_order_on_record_tells_the_position_but_tests_no_order():
    table = SyntheticJudge(first=1).verdicts(0, 50).assign(second_verdict="")
    found = about(audit.card(table, 0))
    assert found["flip_rate"].n == 0 and found["flip_rate"].note.startswith(audit.UNTESTED) and found["flip_rate"].light == ""
    assert (found["first_position_rate"].value, found["first_position_rate"].light) == (1, "red")


def test_calls_that_failed_in_both_orders_are_no_untested_order():
    table = SyntheticJudge(failed=1).verdicts(0, 20)
    assert about(audit.card(table, 0))["flip_rate"].note.startswith("No value: there is nothing to count. Of 0 pairs")


def test_a_single_judge_has_one_row_a_figure():
    figures = audit.card(SyntheticJudge().verdicts(0, 20), 0)
    assert {each.judge for each in figures} == {"j"} and len({each.figure for each in figures}) == len(figures)


def test_each_judge_has_its_card_and_all_together_one():
    fair, broken = SyntheticJudge().verdicts(0, 80), SyntheticJudge(first=1).verdicts(0, 80).assign(judge="biased")
    figures = audit.card(pd.concat([fair, broken]), 0)
    assert audit.lights([each for each in figures if each.judge == "j"]) == "green"
    assert audit.lights([each for each in figures if each.judge == "biased"]) == "red"
    assert about(figures)["flip_rate"].n == 160
    assert [each.figure for each in figures].count("judge_kappa") == 1
    assert all(each.note and each.run == "r" for each in figures)


def test_the_own_family_wins():
    table = SyntheticJudge(skill=1).verdicts(0, 60).assign(judge="qwen2.5-72b at x", base="llama-3-8b")
    named = table.assign(candidate="Qwen2.5-1.5B")
    assert about(audit.card(named, 0), "qwen2.5-72b at x")["own_family_rate"].value == 1
    told = about(audit.card(table, 0, {"c0": "llama", "llama-3-8b": "qwen"}), "qwen2.5-72b at x")["own_family_rate"]
    assert (told.value, told.n) == (0, 60)
    assert about(audit.card(named.assign(judge="nobody"), 0), "nobody")["own_family_rate"].value is None


def test_a_card_is_the_same_every_time():
    table = SyntheticJudge(coin=0.3).verdicts(0, 60, 2)
    assert [asdict(each) for each in audit.card(table, 3)] == [asdict(each) for each in audit.card(table, 3)]


def test_no_verdicts_no_card():
    assert audit.card(SyntheticJudge().verdicts(0, 3).iloc[:0], 0) == [] and audit.lights([]) == "green"


def table_of(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """(with the base first, with the candidate first, candidate's answer, base's answer) -> verdicts, each about its own question."""
    table = SyntheticJudge().verdicts(0, len(rows))
    table[["first_verdict", "second_verdict", "candidate_prediction", "base_prediction"]] = rows
    words = [{each for each in row[:2] if each} for row in rows]
    table["verdict"] = [next((w for w in ("failed", "unparsed") if w in said), said.pop() if len(said) == 1 else "tie") for said in words]
    return table
