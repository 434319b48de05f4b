import pytest

from core import judging, queries, results, runs, win_matrix
from core.results import ALL, AuditFigure, Verdict
from tests.pages import sample


@pytest.fixture
def judged() -> tuple[queries.Evaluation, runs.Run]:
    evaluation, judge = sample.evaluate(), sample.judge()
    runs.update(judge.run_id, outputs={**judge.outputs, "answers": f"results/{evaluation.run_id}/answers.csv"})
    runs.update(evaluation.run_id, outputs={**evaluation.outputs, "answers": f"results/{evaluation.run_id}/answers.csv"})
    return queries.evaluation(runs.read(evaluation.run_id)), runs.read(judge.run_id)


def test_win_rates_of_own_adapters_stand_on_the_diagonal(judged: tuple[queries.Evaluation, runs.Run]) -> None:
    found, judge = judged
    (name, table), *rest = win_matrix.win_rates(found).items()
    assert not rest and name.startswith("judged win rate, similarity")
    assert sorted(zip(table["model"], table["category"], strict=True)) == sorted((f"{school}-lora", school) for school in sample.SCHOOLS)
    verdicts = results.read(judge.path / "verdicts.csv", Verdict)
    rates = judging.win_rates(verdicts).set_index("category")
    for row in table.itertuples():
        expected = rates.loc[row.category]
        assert (row.value, row.n, row.low, row.high) == pytest.approx(tuple(expected[["win_rate", "n", "low", "high"]]))
        assert row.gain == pytest.approx((expected["wins"] - expected["losses"]) / expected["n"])


def test_one_candidate_for_all_categories_has_a_total(judged: tuple[queries.Evaluation, runs.Run]) -> None:
    found, judge = judged
    verdicts = results.read(judge.path / "verdicts.csv", Verdict).assign(candidate="pooled-lora", verdict="fine-tuned")
    verdicts.to_csv(judge.path / "verdicts.csv", index=False)
    (table,) = win_matrix.win_rates(found).values()
    whole = table[table["category"] == ALL].iloc[0]
    assert (whole["value"], whole["n"], whole["mark"]) == (1.0, len(verdicts), "●") and len(table) == len(sample.SCHOOLS) + 1


def test_a_red_card_withholds_the_figures(judged: tuple[queries.Evaluation, runs.Run]) -> None:
    found, judge = judged
    name = results.read(judge.path / "verdicts.csv", Verdict)["judge"].iloc[0]
    results.write(judge.path / "audit.csv", [AuditFigure(judge.run_id, name, "flip_rate", 0.9, 0.8, 1.0, 9, "red")], AuditFigure)
    (table,) = win_matrix.win_rates(found).values()
    assert table["value"].isna().all() and set(table["reason"]) == {"withheld: the judge's audit card is red"} and not table["mark"].any()


def test_a_judge_of_other_answers_is_left_out(judged: tuple[queries.Evaluation, runs.Run]) -> None:
    found, judge = judged
    runs.update(judge.run_id, outputs={**judge.outputs, "answers": "results/another/answers.csv"})
    assert win_matrix.win_rates(found) == {}
