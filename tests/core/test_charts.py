import pandas as pd
import pytest

from core import charts, queries
from core.queries import OWN
from core.results import ALL
from tests.pages import sample


@pytest.fixture
def found() -> queries.Evaluation:
    return queries.evaluation(sample.evaluate())


def test_the_matrix_shows_values_marks_and_gains(found: queries.Evaluation) -> None:
    table = queries.matrix(found, "perplexity")
    models = list(found.models["model"])
    heat = charts.matrix(table, "perplexity", models, [*found.categories, ALL]).data[0]
    row, column = found.categories.index("cynic"), models.index("cynic-lora")
    assert heat.text[row][column].endswith(" ○") and heat.z[row][column] > 0
    assert not heat.text[found.categories.index("lexicon")][models.index("lexicon-lora")].endswith(("●", "○"))
    assert "no difference from base seen" in heat.hovertext[found.categories.index("lexicon")][models.index("lexicon-lora")]
    assert heat.zmin == -heat.zmax, "like base lies in the middle of the colours"


def test_a_missing_cell_is_a_dash_with_its_reason(found: queries.Evaluation) -> None:
    table = queries.matrix(found, "bleu")
    table.loc[(table["model"] == "base") & (table["category"] == "cynic"), ["value", "reason"]] = [None, "no rows"]
    heat = charts.matrix(table, "bleu", ["base", "absent"], ["cynic"]).data[0]
    assert list(heat.text[0]) == ["–", "–"]
    assert list(heat.hovertext[0]) == ["base on cynic: no rows", "absent on cynic: not evaluated"]


def test_dumbbell_whiskers_are_the_interval_of_the_drop(found: queries.Evaluation) -> None:
    gains = queries.gains(found, [OWN])
    gains = gains[gains["category"] != ALL]
    trace = next(trace for trace in charts.dumbbells(gains).data if trace.name == "own adapters")
    first = gains.iloc[0]
    assert trace.x[0] - trace.error_x.arrayminus[0] == pytest.approx(first["base"] - first["high"])
    assert trace.x[0] + trace.error_x.array[0] == pytest.approx(first["base"] - first["low"])


def test_colours_stay_apart_and_beyond_twelve_one_is_highlighted() -> None:
    few = charts.hues(list("abcdefghijkl"))
    assert len(set(few.values())) == 12
    many = charts.hues([str(number) for number in range(30)], highlight="7")
    assert [name for name, colour in many.items() if colour != charts.GREY] == ["7"]


def test_a_weight_of_zero_stays_visible() -> None:
    bar = charts.weights({"a": 0.5, "b": 0.0}).data[0]
    assert list(bar.y) == ["a", "b"] and list(bar.text) == ["0.500", "0"]


def test_rows_by_category_stack_the_splits() -> None:
    counts = pd.DataFrame([("a", "train", 8), ("a", "validation", 1), ("a", "test", 1)], columns=["category", "split", "value"])
    assert [trace.x[0] for trace in charts.rows_by_category(counts).data] == [8, 1, 1]
