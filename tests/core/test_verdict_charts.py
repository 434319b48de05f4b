import pandas as pd
import pytest

from core import charts, judging, results, verdict_charts
from tests.pages import sample


def test_outcomes_fill_the_whole_bar_and_carry_the_interval():
    rates = judging.win_rates(results.read(sample.judge().path / "verdicts.csv", results.Verdict))
    win, tie, loss, whisker = verdict_charts.outcomes(rates).data
    assert [sum(shares) for shares in zip(win.x, tie.x, loss.x, strict=True)] == pytest.approx([1] * 8)
    assert whisker.x[0] + whisker.error_x.array[0] == pytest.approx(rates["high"][0])
    assert (win.marker.color, loss.marker.color) == (charts.OUTCOME["win"], charts.OUTCOME["loss"])


def test_one_category_is_not_drawn_twice():
    rows = results.read(sample.judge().path / "verdicts.csv", results.Verdict).assign(category="all")
    assert list(verdict_charts.outcomes(judging.win_rates(rows)).data[0].y) == ["all"]


def test_slices_unlike_the_whole_stand_out_and_empty_ones_are_left_out():
    table = pd.DataFrame(
        [("a", 90, 0.9, 0.8, 0.95), ("b", 50, 0.5, 0.4, 0.6), ("c", 0, float("nan"), float("nan"), float("nan"))],
        columns=["slice", "n", "win_rate", "low", "high"],
    )
    figure = verdict_charts.slices(table, 0.55)
    dots = figure.data[0]
    assert list(dots.y) == ["a", "b"] and list(dots.marker.color) == [charts.ACCENT, charts.GREY]
    assert dots.x[0] - dots.error_x.arrayminus[0] == pytest.approx(0.8)
    assert figure.layout.shapes[0].x0 == 0.55
