"""The Evaluate page with comparisons, flags and verdicts on the same answers."""

import numpy as np
import pytest

from core import results, runs
from core.evaluate.compare import compare
from core.metrics.batch import Measure
from core.results import Answer, Comparison, Flag, Model
from tests.pages import sample
from tests.pages.conftest import Open
from tests.pages.test_pages import words


@pytest.fixture
def evaluated() -> runs.Run:
    run, judge = sample.evaluate(), sample.judge()
    answers = [Answer(*row) for row in results.read(run.path / "answers.csv", Answer).itertuples(index=False)]
    models = [Model(*row) for row in results.read(run.path / "models.csv", Model).itertuples(index=False)]
    sums = np.array([[each.reference_loss, each.reference_tokens] for each in answers])
    measure = Measure("perplexity", sums, lambda each: np.exp(each[:, 0] / each[:, 1]), "")
    results.write(run.path / "comparisons.csv", compare(answers, models, [measure], 0), Comparison)
    first = next(each for each in answers if each.model == "cynic-lora")
    named = (first.run, first.model, first.category, first.question)
    results.write(run.path / "flags.csv", [Flag(*named, "loop", "'a *b* <i>' 4 times in a row")], Flag)
    for each in (run, judge):
        runs.update(each.run_id, outputs={**each.outputs, "answers": f"results/{run.run_id}/answers.csv"})
    return run


def test_each_model_gets_a_sentence_with_its_figures(evaluated: runs.Run, open_page: Open) -> None:
    at = open_page("evaluate")
    said = words(at)
    assert not at.exception
    for name in ("Own adapters", "pooled-lora", "cynic-lora", sample.MERGED[0]):
        assert f"**{name}**: On " in said
    assert "the price of merging: " in said and "off it " in said and "(Holm, p below 0.05)" in said


def test_flags_stand_beside_answers_and_filter_them(evaluated: runs.Run, open_page: Open) -> None:
    at = open_page("evaluate", flag="repeats itself")
    assert at.dataframe[-1].value["flags"].tolist() == ["repeats itself"]
    assert "cynic-lora: **repeats itself** ('a *b* <i>' 4 times in a row)" in words(at)
    at.selectbox(key="flag").set_value("none").run()
    assert len(at.dataframe[-1].value) == 160 and "1 oddity in" in at.expander[2].label


def test_win_rates_are_a_metric_of_the_matrix(evaluated: runs.Run, open_page: Open) -> None:
    at = open_page("evaluate")
    name = next(option for option in at.selectbox(key="metric").options if option.startswith("judged win rate"))
    at.selectbox(key="metric").set_value(name).run()
    assert not at.exception and "Share of wins against base." in words(at)
    assert set(at.dataframe[0].value["model"]) == {f"{school}-lora" for school in sample.SCHOOLS}
