"""Pictures of merges show the figures of their tables."""

import pandas as pd
import pytest

from core import merge_charts
from core.charts import ROLE
from core.live_losses import COLUMNS
from core.results import ALL


def traces(figure: object) -> dict[str, object]:
    return {trace.name: trace for trace in figure.data if trace.name}  # type: ignore[attr-defined]


def test_losses_stand_at_their_values_with_whiskers_and_the_mean_last() -> None:
    rows = [
        ("law", "base", "base", 4.0, 4, 4, None, None, None),
        ("law", "own adapters", "own", 3.0, 4, 4, 1.0, 0.8, 1.3),
        ("law", "mix", "merged", 3.5, 4, 4, 0.5, 0.2, 0.9),
        (ALL, "mix", "merged", 3.6, 4, 4, 0.4, 0.1, 0.6),
    ]
    figure = merge_charts.losses(pd.DataFrame(rows, columns=COLUMNS), ["law", "art"])
    mix = traces(figure)["mix"]
    assert list(mix.x) == [3.5, 3.6] and mix.marker.color == ROLE["merged"]
    places = {name: list(trace.y) for name, trace in traces(figure).items()}
    half = merge_charts.SHIFT / 2
    assert places == {"base": [0], "own adapters": [-half], "mix": [half, 2 + half]}, "beside each other, so that no whisker hides one"
    assert list(mix.error_x.array) == pytest.approx([0.3, 0.3]) and list(mix.error_x.arrayminus) == pytest.approx([0.4, 0.2])
    assert list(figure.layout.yaxis.ticktext) == ["law", "art", "mean"], "places are kept for what is not known yet"


def test_every_point_of_the_triangle_is_a_mix_that_sums_to_one() -> None:
    figure = merge_charts.triangle(["x", "y", "z"], [0.5, 0.25, 0.25])
    grid, here = figure.data
    assert len(grid.customdata) == 231 and all(sum(point) == pytest.approx(1) for point in grid.customdata)
    assert {tuple(point) for point in grid.customdata} >= {(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)}
    assert list(zip(grid.a, grid.b, grid.c, strict=True)) == [tuple(point) for point in grid.customdata]
    assert (here.a[0], here.b[0], here.c[0]) == (0.5, 0.25, 0.25)


@pytest.mark.parametrize("weights", [(0, 0, 0), (-0.5, 1, 1)])
def test_a_mix_outside_the_triangle_has_no_mark(weights: tuple[float, float, float]) -> None:
    assert len(merge_charts.triangle(["x", "y", "z"], weights).data) == 1


def test_cosines_are_a_square_with_an_empty_diagonal() -> None:
    table = pd.DataFrame([("x", "y", 0.5), ("x", "z", -0.25), ("y", "z", 0.0)], columns=["one", "other", "cosine"])
    heat = merge_charts.cosines(table).data[0]
    assert [list(row) for row in heat.z] == [[None, 0.5, -0.25], [0.5, None, 0.0], [-0.25, 0.0, None]]
    assert heat.zmax == 0.5 == -heat.zmin


def test_measures_stand_by_kind_and_depth() -> None:
    rows = [
        (f"model.layers.{depth}.self_attn.{kind}", "sign_conflict", value)
        for depth, kind, value in ((0, "q_proj", 0.1), (11, "v_proj", 0.4))
    ]
    table = pd.DataFrame([*rows, (ALL, "sign_conflict", 0.2), (rows[0][0], "cancelled", 0.9)], columns=["layer", "measure", "value"])
    heat = merge_charts.by_layer(table, "sign_conflict").data[0]
    assert list(heat.x) == ["0", "11"] and list(heat.y) == ["q_proj", "v_proj"]
    assert [list(row) for row in heat.z] == [[0.1, None], [None, 0.4]]


def test_the_front_joins_the_mixes_that_none_beats() -> None:
    columns = ["trial", "strategy", "origin", "mean", "worst", "pareto", "weights"]
    rows = [
        (0, "linear", "base", 4.0, 5.0, False, ""),
        (1, "linear", "cma", 3.1, 4.0, True, "x 1"),
        (2, "ties", "cma", 3.0, 4.2, True, "y 1"),
    ]
    figure = merge_charts.pareto(pd.DataFrame(rows, columns=columns))
    front = traces(figure)["none is better in both"]
    assert list(front.x) == [3.0, 3.1] and list(front.y) == [4.2, 4.0]
    assert list(traces(figure)["base"].x) == [4.0] and list(traces(figure)["cma"].x) == [3.1, 3.0]


def test_the_surface_has_a_value_at_every_pair_of_weights() -> None:
    rows = [("x", "y", a, b, 10 * a + b) for a in (0.0, 1.0) for b in (0.0, 0.5)]
    table = pd.DataFrame(rows, columns=["one", "other", "one_weight", "other_weight", "loss"])
    contour, star = merge_charts.surface(table, (0.0, 0.5)).data
    assert list(contour.x) == [0.0, 1.0] and list(contour.y) == [0.0, 0.5]
    assert [list(row) for row in contour.z] == [[0.0, 10.0], [0.5, 10.5]] and (star.x[0], star.y[0]) == (0.0, 0.5)
