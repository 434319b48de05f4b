import pandas as pd

from core import judging, results, verdict_findings
from core.judge import audit
from core.results import AuditFigure
from core.verdict_findings import Judged
from tests.pages import sample


def _table():
    return results.read(sample.judge().path / "verdicts.csv", results.Verdict)


def _judged(table):
    figures = pd.DataFrame(audit.card(table, 0), columns=AuditFigure.columns())
    mine = figures[figures["judge"] != ""]
    rates = judging.win_rates(table)
    sentence = verdict_findings.verdicts(rates, table)
    return Judged(str(table["judge"][0]), rates, mine, audit.lights(list(mine.itertuples())), sentence, verdict_findings.cost(table))


def test_verdicts_name_the_judge_as_what_it_is():
    table = _table()
    rates = judging.win_rates(table)
    sentence = verdict_findings.verdicts(rates, table)
    wins, losses, ties = (rates[word][0] for word in ("wins", "losses", "ties"))
    who = "Own adapters against the base, by closeness to the reference: "
    assert sentence.startswith(f"{who}{wins} won, {losses} lost, {ties} tied of 159 questions; win rate ")
    assert "), ties counting against it. " in sentence
    assert "2 verdicts failed or unparsed." in sentence and sentence.endswith("not a language model.")
    failed = table.assign(verdict="failed")
    said = verdict_findings.verdicts(judging.win_rates(failed), failed)
    assert said.startswith("No answer could be judged: 161 verdicts failed or unparsed.")
    assert verdict_findings.judge_name(table.assign(judge="openai gpt-oss-20b")) == "openai gpt-oss-20b"


def test_a_prompt_without_a_reference_says_preferred_and_a_foreign_base_has_its_name():
    table = _table().assign(prompt="preference", base="gpt-x", candidate="mine")
    sentence = verdict_findings.verdicts(judging.win_rates(table), table)
    assert sentence.startswith("mine against gpt-x, by preference: ")
    imported = _table().assign(prompt="", reference="")
    assert "by preference" in verdict_findings.verdicts(judging.win_rates(imported), imported), (
        "without references nothing is closer to one"
    )


def test_several_candidates_on_one_category_are_not_own_adapters():
    table = pd.DataFrame({"category": ["a", "a"], "candidate": ["x", "y"]})
    assert verdict_findings.candidate_name(table) == "the candidates"
    assert verdict_findings.candidate_name(table.assign(category=["a", "b"])) == "own adapters"


def test_a_judge_that_always_says_first_has_no_headline():
    table = _table().assign(judge="openai biased", verdict="tie", first_verdict="base", second_verdict="fine-tuned")
    judged = _judged(table)
    sentence = verdict_findings.headline({"openai biased": judged})
    assert judged.light == "red" and judged.withheld
    assert sentence.startswith("The headline of openai biased is withheld, since its audit card is red: ")
    assert "order changed the verdict 100 %" in sentence and "answer shown first won 100 %" in sentence
    assert "closer" not in sentence and "interval" not in sentence


def test_of_several_judges_each_is_told_and_the_red_one_is_not():
    fair, biased = _judged(_table()), _judged(_table().assign(judge="b", verdict="tie", first_verdict="base", second_verdict="fine-tuned"))
    sentence = verdict_findings.headline({"a": fair, "b": biased})
    assert fair.light == "green" and fair.sentence in sentence and "The headline of b is withheld" in sentence


def test_who_won_is_not_told_of_a_red_card() -> None:
    rows = [("", "win_rate", ""), ("a", "win_rate", ""), ("a", "flip_rate", "red"), ("b", "win_rate", ""), ("b", "flip_rate", "green")]
    figures = pd.DataFrame(rows, columns=["judge", "figure", "light"])
    assert [tuple(row) for row in verdict_findings.told(figures)[["judge", "figure"]].to_numpy()] == [
        ("a", "flip_rate"),
        ("b", "win_rate"),
        ("b", "flip_rate"),
    ]
    fair = figures[figures["judge"] == "b"]
    assert len(verdict_findings.told(fair)) == 2


def test_figures_are_said_in_their_unit():
    assert verdict_findings.value("flip_rate", 0.25) == "25 %" and verdict_findings.value("judge_kappa", 0.25) == "0.250"
    assert verdict_findings.value("win_rate_difference", -0.031) == "−3.10 points"
    assert verdict_findings.value("mcnemar_p", 0.04) == "0.0400" and verdict_findings.value("flip_rate", float("nan")) == "–"
    assert verdict_findings.spread("flip_rate", 0.2, 0.3, 1200) == "20 % to 30 %, n 1,200"
    assert verdict_findings.spread("mcnemar_p", float("nan"), float("nan"), 9) == "n 9"
    assert verdict_findings.label("flip_rate") == "Order changed the verdict" and verdict_findings.label("new_thing") == "New thing"


def _figures(rows):
    columns = ["judge", "figure", "value", "low", "high", "n", "light", "note"]
    return pd.DataFrame(rows, columns=columns)


def test_the_light_of_longer_answers_stands_at_the_figure_that_it_rests_on():
    note = "Of replies. Green, not red: it may be the better side that is longer (longer_either_way)."
    longer, either = (
        ["j", "longer_answer_rate", 0.91, 0.89, 0.93, 800, "green", note],
        ["j", "longer_either_way", 0.6, 0.5, 0.7, 800, "", "M."],
    )
    shown = verdict_findings.carded(_figures([longer, either]))
    assert dict(zip(shown["figure"], shown["light"], strict=True)) == {"longer_answer_rate": "", "longer_either_way": "green"}
    fair = ["j", "longer_answer_rate", 0.5, 0.45, 0.55, 800, "green", "Of replies."]
    assert list(verdict_findings.carded(_figures([fair, either]))["light"]) == ["green", ""], "its own interval is green"


def test_an_order_that_was_not_tested_stands_on_the_card_and_one_never_seen_has_no_light():
    nothing = [None, None, None, 0, "", "No value"]
    figures = _figures([["j", name, *nothing] for name in ("flip_rate", "reversal_rate", "first_position_rate", "repeat_agreement")])
    assert list(verdict_findings.carded(figures)["figure"]) == ["flip_rate", "first_position_rate"]
    known = [0.0, 0.0, 0.02, 171, "green", "Of 171 pairs."]
    shown = verdict_findings.carded(_figures([["similarity, m", "flip_rate", *known], ["groq m", "flip_rate", *known]]))
    assert list(shown["light"]) == ["", "green"]


def test_cost_says_tokens_money_and_time():
    assert verdict_findings.cost(_table()) == "no tokens, 2 s of calls"
    assert verdict_findings.cost(_table().assign(tokens=10, cost=0.001)) == "1,610 tokens, money 0.161, 2 s of calls"
