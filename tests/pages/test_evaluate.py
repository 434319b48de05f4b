"""The Evaluate page with comparisons, flags and verdicts on the same answers."""

import shutil

import numpy as np
import pandas as pd
import pytest

from core import queries, results, runs
from core.evaluate.compare import compare
from core.metrics.batch import Measure
from core.results import Answer, Comparison, Flag, Model, parquet, table
from core.results.found import PAGE
from pages import paging
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
    assert len(at.dataframe[-1].value) == PAGE and "1 oddity in" in at.expander[2].label and "160 questions. Gain" in words(at)


def test_pages_of_fifty_and_another_filter_goes_back_to_the_first(evaluated: runs.Run, open_page: Open) -> None:
    found = queries.evaluation(evaluated)
    pairs = queries.told(found, queries.paired(found, queries.OWN))
    at = open_page("evaluate", page="2", pair="3")
    shown = at.dataframe[-1].value
    assert list(shown.index) == list(range(PAGE, 2 * PAGE))
    assert shown["question"].tolist() == pairs["question"].str.slice(0, paging.CUT)[PAGE : 2 * PAGE].tolist()
    assert pairs["question"][3] in [text.value for text in at.text], "a row of another page stays open"
    at.selectbox(key="category").set_value("kural").run()
    shown = at.dataframe[-1].value
    assert at.session_state["page"] == 1 and set(shown["category"]) == {"kural"} and len(shown) == 23


def test_a_large_evaluation_looks_the_same(evaluated: runs.Run, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"page": "2", "order": "largest gain", "contains": "the"}
    small = open_page("evaluate", **asked)
    monkeypatch.setattr(table, "LARGE", 50)
    copied = runs.create("evaluate", {})
    for file in evaluated.path.glob("*.csv"):
        shutil.copy(file, copied.path)
    runs.update(copied.run_id, status="done", finished_at=runs.now())
    large = open_page("evaluate", evaluation=copied.run_id, **asked)
    assert not large.exception and parquet.is_made(copied.path / "answers.csv")
    assert small.markdown[0].value == large.markdown[0].value and [each.label for each in small.expander] == [
        each.label for each in large.expander
    ]
    for ours, theirs in zip(small.dataframe, large.dataframe, strict=True):
        pd.testing.assert_frame_equal(ours.value, theirs.value)
    assert [text.value for text in small.text] == [text.value for text in large.text]


def test_win_rates_are_a_metric_of_the_matrix(evaluated: runs.Run, open_page: Open) -> None:
    at = open_page("evaluate")
    name = next(option for option in at.selectbox(key="metric").options if option.startswith("judged win rate"))
    at.selectbox(key="metric").set_value(name).run()
    assert not at.exception and "Share of wins against base." in words(at)
    assert set(at.dataframe[0].value["model"]) == {f"{school}-lora" for school in sample.SCHOOLS}
