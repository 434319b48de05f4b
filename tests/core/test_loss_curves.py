import pandas as pd
import pytest

from core import charts, loss_curves, results, training
from tests.pages import sample


@pytest.fixture
def steps() -> pd.DataFrame:
    return results.read(sample.train().path / "steps.csv", results.Step).assign(run="a")


@pytest.fixture
def many(steps: pd.DataFrame) -> pd.DataFrame:
    """28 adapters, each a bit worse than the one before."""
    copies = [
        steps.assign(adapter=f"{place}-" + steps["adapter"], validation_loss=steps["validation_loss"] + place, loss=steps["loss"] + place)
        for place in range(4)
    ]
    return pd.concat(copies)


def test_each_adapter_has_its_own_small_picture_on_common_axes(steps: pd.DataFrame) -> None:
    figure = loss_curves.small_multiples(steps)
    assert [note.text for note in figure.layout.annotations] == [f"{school}-lora" for school in sample.SCHOOLS]
    shared = "every other axis follows the last one"
    assert {axis.matches for axis in figure.select_yaxes() if axis.matches} == {"y7"}, shared
    stars = [trace for trace in figure.data if trace.marker.symbol == "star"]
    best = training.best_steps(steps)
    assert [star.y[0] for star in stars] == list(best["best"]) and [star.x[0] for star in stars] == list(best["best_step"])


def test_validation_values_are_drawn_as_measured_and_runs_are_overlaid(steps: pd.DataFrame) -> None:
    one = steps[steps["adapter"] == "cynic-lora"]
    figure = loss_curves.small_multiples(pd.concat([one, one.assign(run="b", validation_loss=one["validation_loss"] + 1)]))
    curves = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert list(curves[0].y) == list(one["validation_loss"].dropna())
    assert [curve.line.dash for curve in curves] == ["solid", "dash"] and curves[0].line.color == curves[1].line.color


def test_a_long_run_is_drawn_with_few_points_and_its_last_step(steps: pd.DataFrame) -> None:
    one = pd.concat([steps[steps["adapter"] == "cynic-lora"].drop(columns="step")] * 50).assign(step=range(1, 6001))
    training_loss = next(trace for trace in loss_curves.small_multiples(one).data if trace.mode == "lines")
    assert len(training_loss.x) <= 402 and training_loss.x[-1] == 6000


def test_among_many_the_extremes_and_the_chosen_are_in_colour_and_all_others_one_grey_trace(many: pd.DataFrame) -> None:
    lowest, highest = training.extremes(training.best_steps(many))
    assert (lowest, highest) == ("0-cynic-lora", "3-lexicon-lora")
    figure = loss_curves.highlighted(many, lowest, highest, ["2-kural-lora", lowest])
    grey = [trace for trace in figure.data if trace.line.color == charts.GREY]
    assert [trace.name for trace in grey] == ["25 other adapters"]
    names = set(grey[0].text) - {""}
    assert len(names) == 25 and not names & {lowest, highest, "2-kural-lora"}
    legend = {trace.name: trace.line.color for trace in figure.data if trace.showlegend}
    assert list(legend) == [f"{lowest} (lowest)", f"{highest} (highest)", "2-kural-lora"]
    assert len(set(legend.values())) == 3 and (legend[f"{lowest} (lowest)"], legend[f"{highest} (highest)"]) == ("#0072B2", "#D55E00")


def test_a_grey_line_is_the_validation_loss_of_one_adapter_and_breaks_before_the_next(many: pd.DataFrame) -> None:
    grey = loss_curves.highlighted(many, None, None, []).data[0]
    at = [place for place, name in enumerate(grey.text) if name == "1-puritan-lora"]
    theirs = many[many["adapter"] == "1-puritan-lora"].dropna(subset=["validation_loss"])
    assert list(grey.y[at]) == list(theirs["validation_loss"]) and list(grey.x[at]) == list(theirs["step"])
    assert pd.isna(grey.y[at[-1] + 1]) and pd.isna(grey.x[at[-1] + 1])


def test_grey_lines_are_training_losses_until_validation_is_measured(many: pd.DataFrame) -> None:
    grey = loss_curves.highlighted(many.assign(validation_loss=float("nan")), None, None, []).data[0]
    assert 28 * 30 < len(grey.x) < 28 * 45, "thinned to about 40 points each"
    assert set(grey.y[~pd.isna(grey.y)]) <= set(many["loss"])


def test_overlaid_runs_of_many_adapters_show_what_is_highlighted_alone(many: pd.DataFrame) -> None:
    figure = loss_curves.highlighted(pd.concat([many, many.assign(run="b")]), "0-cynic-lora", None, [])
    assert [trace.name for trace in figure.data if trace.showlegend] == ["0-cynic-lora (lowest) · a", "0-cynic-lora (lowest) · b"]
    assert len([trace for trace in figure.data if trace.line.color == charts.GREY]) == 1
