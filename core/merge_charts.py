"""Pictures of merges: losses of a live mix, a triangle of weights, who is like whom, where adapters conflict, and what a search found."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from core.charts import ACCENT, DIVERGING, GREY, GRID, INK, OUTLINE, ROLE, dress, hues
from core.results import ALL
from core.wording import three

HELD = "#B79AD0"
"""The mix that was put aside, to compare the current one with: merged purple, paler."""
MEASURES = {
    "sign_conflict": "Sign conflict",
    "cancelled": "Cancelled",
    "relative_error": "Distance from the exact sum",
    "energy_kept": "Energy kept",
    "norm_ratio": "Strength",
}
"""The measures of results.Fidelity, by what people call them."""
STEPS = 20
"""Weights along a side of the triangle."""
SHIFT = 0.15
"""Between the whiskers of one category's models, of the distance between two categories."""
_HEAT = [[0, "#F1EFE9"], [0.5, "#E2B77F"], [1, "#B4662A"]]
_LOSS = [[0, "#43AE9C"], [0.5, "#DDDFE0"], [1, "#E39A4F"]]
"""Low is good: green-blue; pale enough for dark figures."""


def losses(table: pd.DataFrame, categories: Sequence[str]) -> go.Figure:
    """One line per category between the losses of base, own adapter, pooled adapter and mixes; their mean, '(all)', stands last.

    `table`: live_losses.Tally.table, with role base, own, pooled, merged or held. Whiskers: the interval of the drop from base.
    """
    categories, figure = [*categories, ALL], go.Figure()
    height = {category: place for place, category in enumerate(categories)}
    for category, part in table.groupby("category", sort=False):
        span = {"x": [part["value"].min(), part["value"].max()], "y": [height[category]] * 2}
        figure.add_scatter(**span, mode="lines", line={"color": GRID, "width": 6}, hoverinfo="skip", showlegend=False)
    colours = hues(categories[:-1])
    models = [(model, role, part) for (model, role), part in table.groupby(["model", "role"], sort=False)]
    compared = [model for model, role, _ in models if role != "base"]
    for model, role, part in models:
        shift = SHIFT * (compared.index(model) - (len(compared) - 1) / 2) if model in compared else 0.0
        figure.add_scatter(
            x=part["value"],
            y=part["category"].map(height) + shift,
            mode="markers",
            name=model,
            error_x=_whisker(part),
            marker=_marker(role, [colours.get(category, ACCENT) for category in part["category"]]),
            text=part["category"],
            customdata=part["n"],
            hovertemplate=f"{model} on %{{text}}: %{{x:.3f}}, n %{{customdata}}<extra></extra>",
        )
    ticks = ["mean" if name == ALL else name for name in categories]
    figure.update_yaxes(range=[len(categories) - 0.4, -0.6], tickvals=list(height.values()), ticktext=ticks, showgrid=False)
    figure.update_xaxes(title_text="validation loss, nats per answer token (lower is better)")
    return dress(figure, 34 * len(categories) + 120)


def _whisker(part: pd.DataFrame) -> dict[str, object]:
    spread = {"array": part["drop"] - part["low"], "arrayminus": part["high"] - part["drop"]}
    return {"type": "data", "symmetric": False, **spread, "color": OUTLINE, "thickness": 1, "width": 2}


def _marker(role: str, own: list[str]) -> dict[str, object]:
    if role == "own":
        return {"color": own, "size": 10, "symbol": "circle"}
    colour = {**ROLE, "held": HELD}.get(role, ACCENT)
    return {"color": colour, "size": 12 if role == "merged" else 10, "symbol": "diamond" if role in ("merged", "held") else "circle"}


def triangle(names: Sequence[str], weights: Sequence[float]) -> go.Figure:
    """Three adapters: a point to click for every mix in steps of 1 / STEPS, whose `customdata` are its weights; the mix in purple.

    Weights that don't sum to 1 stand at their shares; where no share can be said, because one is negative or all are 0, there is no mark.
    """
    grid = [(a / STEPS, b / STEPS, (STEPS - a - b) / STEPS) for a in range(STEPS + 1) for b in range(STEPS + 1 - a)]
    hover = "<br>".join(f"{name} %{{customdata[{place}]:.2f}}" for place, name in enumerate(names)) + "<extra></extra>"
    figure = go.Figure()
    figure.add_scatterternary(
        **dict(zip("abc", zip(*grid, strict=True), strict=True)),
        customdata=grid,
        mode="markers",
        marker={"size": 7, "color": GREY, "opacity": 0.45},
        hovertemplate=hover,
        selected={"marker": {"opacity": 0.45}},
        unselected={"marker": {"opacity": 0.45}},
        showlegend=False,
    )
    total = sum(weights)
    if total > 0 and min(weights) >= 0:
        here = {corner: [weight / total] for corner, weight in zip("abc", weights, strict=True)}
        mark = {"size": 15, "color": ROLE["merged"], "symbol": "diamond", "line": {"color": "white", "width": 1}}
        figure.add_scatterternary(**here, mode="markers", marker=mark, hoverinfo="skip", showlegend=False)
    axis = {"showticklabels": False, "ticks": "", "showgrid": False, "linecolor": OUTLINE}
    corners = {f"{corner}axis": {**axis, "title": {"text": name}} for corner, name in zip("abc", names, strict=True)}
    figure.update_layout(ternary={"sum": 1, "bgcolor": "rgba(0,0,0,0)", **corners}, dragmode=False, clickmode="event+select")
    return dress(figure, 300, legend=False).update_layout(margin={"l": 52, "r": 52, "t": 28, "b": 28})


def cosines(table: pd.DataFrame) -> go.Figure:
    """How alike each pair of adapters is: results.Cosine as a square, its diagonal empty."""
    names = list(dict.fromkeys([*table["one"], *table["other"]]))
    pairs = {(row.one, row.other): row.cosine for row in table.itertuples()}
    grid = [[pairs.get((one, other), pairs.get((other, one))) for other in names] for one in names]
    most = max((abs(value) for row in grid for value in row if value is not None), default=0) or 1
    figure = _heat(grid, names, names, DIVERGING, -most, most, "cosine of %{y} and %{x}: %{z:.3f}<extra></extra>")
    figure.update_xaxes(side="top", tickangle=-35 if len(names) > 3 else 0)
    return dress(figure, 34 * len(names) + 110, legend=False)


def by_layer(table: pd.DataFrame, measure: str) -> go.Figure:
    """One measure of results.Fidelity over the depth of the model, a row per kind of layer."""
    part = table[(table["measure"] == measure) & (table["layer"] != ALL)]
    places = [_place(layer) for layer in part["layer"]]
    kinds, depths = list(dict.fromkeys(kind for kind, _ in places)), sorted({depth for _, depth in places})
    values = dict(zip(places, part["value"], strict=True))
    grid = [[values.get((kind, depth)) for depth in depths] for kind in kinds]
    hover = f"{MEASURES[measure]} of %{{y}}, layer %{{x}}: %{{z:.3g}}<extra></extra>"
    figure = _heat(grid, [str(depth) for depth in depths], kinds, _HEAT, None, None, hover, texts=len(depths) <= 8)
    figure.update_traces(showscale=True, colorbar={"thickness": 10, "outlinewidth": 0, "tickformat": ".2g"})
    figure.update_xaxes(title_text="layer", type="category", nticks=16)
    return dress(figure, 30 * len(kinds) + 110, legend=False)


def _place(layer: str) -> tuple[str, int]:
    """'model.layers.3.self_attn.q_proj' -> ('q_proj', 3)."""
    numbers = re.findall(r"\.(\d+)\.", layer)
    return layer.rpartition(".")[2], int(numbers[0]) if numbers else 0


def _heat(
    grid: Sequence[Sequence[float | None]],
    across: Sequence[str],
    down: Sequence[str],
    scale: object,
    low: float | None,
    high: float | None,
    hover: str,
    texts: bool = True,
) -> go.Figure:
    said = [[three(value) if value is not None else "" for value in row] for row in grid]
    figure = go.Figure(
        go.Heatmap(
            **{"z": grid, "x": list(across), "y": list(down), "zmin": low, "zmax": high, "colorscale": scale, "hoverongaps": False},
            **({"text": said, "texttemplate": "%{text}", "textfont": {"color": INK}} if texts else {}),
            **{"xgap": 2, "ygap": 2, "showscale": False, "hovertemplate": hover},
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure


def pareto(table: pd.DataFrame) -> go.Figure:
    """Mean loss against the worst category's loss, a point per mix that was tried, the front of those that none beats joined by a line.

    `table`: trial, strategy, origin, mean, worst, pareto (bool), weights (a line of text).
    """
    figure, colours = go.Figure(), _by_origin(table)
    for origin, part in table.groupby("origin", sort=False):
        figure.add_scatter(
            x=part["mean"],
            y=part["worst"],
            mode="markers",
            name=origin,
            marker={"color": colours[str(origin)], "size": 8, "opacity": 0.8, "symbol": "diamond" if origin == "base" else "circle"},
            customdata=part[["trial", "strategy", "weights"]],
            hovertemplate="mix %{customdata[0]}, %{customdata[1]}: mean %{x:.3f}, worst %{y:.3f}<br>%{customdata[2]}<extra></extra>",
        )
    front = table[table["pareto"]].sort_values("mean")
    line = {"color": ROLE["merged"], "width": 2, "shape": "hv"}
    figure.add_scatter(x=front["mean"], y=front["worst"], mode="lines", line=line, name="none is better in both", hoverinfo="skip")
    figure.update_xaxes(title_text="mean of the categories' losses, nats per answer token")
    figure.update_yaxes(title_text="loss of the worst category")
    return dress(figure, 400)


def _by_origin(table: pd.DataFrame) -> dict[str, str]:
    known: Mapping[str, str] = {"base": ROLE["base"], "alone": "#56B4E9", "average": "#E69F00", "sum": "#D55E00", "surface": GREY}
    return {str(origin): known.get(str(origin), ROLE["merged"]) for origin in table["origin"].unique()}


def surface(table: pd.DataFrame, mark: tuple[float, float] | None = None) -> go.Figure:
    """The loss over the weights of two adapters as a contour: results.SurfacePoint of one category and strategy. `mark`: the best mix."""
    one, other = str(table["one"].iloc[0]), str(table["other"].iloc[0])
    grid = table.pivot_table(index="other_weight", columns="one_weight", values="loss")
    figure = go.Figure(
        go.Contour(
            x=grid.columns,
            y=grid.index,
            z=grid.to_numpy(),
            colorscale=_LOSS,
            ncontours=14,
            line={"width": 1, "color": OUTLINE},
            contours={"showlabels": True, "labelfont": {"color": INK, "size": 10}},
            colorbar={"thickness": 10, "outlinewidth": 0, "title": {"text": "loss"}},
            hovertemplate=f"{one} %{{x:.2f}}, {other} %{{y:.2f}}: %{{z:.3f}}<extra></extra>",
        )
    )
    if mark:
        star = {"size": 13, "symbol": "star", "color": ROLE["merged"], "line": {"color": "white", "width": 1}}
        hover = "best mix found<extra></extra>"
        figure.add_scatter(x=[mark[0]], y=[mark[1]], mode="markers", marker=star, hovertemplate=hover, showlegend=False)
    figure.update_xaxes(title_text=f"weight of {one}")
    figure.update_yaxes(title_text=f"weight of {other}")
    return dress(figure, 400, legend=False)
