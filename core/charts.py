"""Tables in, plotly figures out. Colour by role, whiskers on every estimate, grey for 'no difference seen'."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from core.results import ALL
from core.wording import three

ROLE = {"base": "#8A8F98", "pooled": "#3B78B8", "merged": "#8657B0", "route": "#1E9E9E"}
OUTCOME = {"win": "#1B8A7A", "tie": "#A9ADB3", "loss": "#D9822B"}
GREY = "#A9ADB3"
INK = "#1F2328"
DIVERGING = [[0, "#E39A4F"], [0.5, "#DDDFE0"], [1, "#43AE9C"]]
"""Worse than base, like base, better: pale enough for dark figures in light and dark."""
HUES = ("#E69F00", "#56B4E9", "#009E73", "#B8A500", "#0072B2", "#D55E00", "#CC79A7", "#882255", "#44AA99", "#999933", "#AA4499", "#332288")
"""Okabe-Ito (its yellow darkened for paper), then Tol's muted scale."""
ACCENT = "#136F63"
OUTLINE = "#80858C"
GRID = "rgba(128,128,128,0.18)"


def hues(categories: list[str], highlight: str | None = None) -> dict[str, str]:
    """A colour per category; beyond twelve all are grey but the highlighted one."""
    if len(categories) > len(HUES):
        return {category: HUES[0] if category == highlight else GREY for category in categories}
    return dict(zip(categories, HUES, strict=False))


def matrix(table: pd.DataFrame, metric: str, models: list[str], categories: list[str]) -> go.Figure:
    """Categories down, models across: the value in each cell, coloured by the gain over base; a mark where the difference is clear."""
    first = table.drop_duplicates(["category", "model"])
    columns = [list(first[name].to_numpy()) for name in first]  # NumPy's numbers, which round as they do in a table
    rows = (dict(zip(first.columns, row, strict=True)) for row in zip(*columns, strict=True))
    cells: Cells = {(row["category"], row["model"]): row for row in rows}
    grid = {name: [[_cell(cells, category, model, name) for model in models] for category in categories] for name in _CELL}
    text = [
        [f"{three(value)} {mark or ''}".rstrip() for value, mark in zip(*rows, strict=True)]
        for rows in zip(grid["value"], grid["mark"], strict=True)
    ]
    hover = [[_hover(cells, category, model, metric) for model in models] for category in categories]
    figure = gain_map(grid["gain"], models, categories, text, hover)
    return dress(figure, 34 * len(categories) + (130 if len(models) > 4 else 60), legend=False)


def gain_map(
    gains: list[list[float | None]], across: list[str], down: list[str], text: list[list[str]], hover: list[list[str]]
) -> go.Figure:
    """A heat map of gains over a baseline, [down, across], with a text in each cell; undressed."""
    most = max((abs(gain) for row in gains for gain in row if gain is not None), default=0) or 1
    figure = go.Figure(
        go.Heatmap(
            z=gains,
            x=across,
            y=down,
            text=text,
            texttemplate="%{text}",
            zmin=-most,
            zmax=most,
            showscale=False,
            xgap=2,
            ygap=2,
            colorscale=DIVERGING,
            textfont={"color": INK},
            hovertext=hover,
            hoverinfo="text",
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(side="top", showgrid=False, tickangle=-35 if len(across) > 4 else 0, type="category")
    return figure


_CELL = ("value", "gain", "mark")


Cells = dict[tuple[str, str], dict[str, Any]]
"""(category, model) -> a row of the matrix."""


def _cell(cells: Cells, category: str, model: str, name: str) -> float | None:
    value = cells.get((category, model), {}).get(name)
    return None if value is None or pd.isna(value) else value


def _hover(cells: Cells, category: str, model: str, metric: str) -> str:
    if (category, model) not in cells:
        return f"{model} on {category}: not evaluated"
    row = cells[category, model]
    if pd.isna(row["value"]):
        return f"{model} on {category}: {row['reason'] or 'no value'}"
    seen = "" if row["clear"] or row["gain"] == 0 else "<br>no difference from base seen"
    span = f"{three(row['low'])} to {three(row['high'])}"
    return f"{model} on {category}<br>{metric} {three(row['value'])} ({span}), n {row['n']}<br>{row['against']}{seen}"


def dumbbells(gains: pd.DataFrame, unit: str = "perplexity") -> go.Figure:
    """One line per category from base to each model, whiskers at the model: queries.gains."""
    categories, models = list(dict.fromkeys(gains["category"])), list(dict.fromkeys(gains["model"]))
    height = {category: place for place, category in enumerate(categories)}
    colours, figure = hues([name for name in categories if name != ALL]), go.Figure()
    for category in categories:
        part = gains[gains["category"] == category]
        values, line = [*part["base"].iloc[:1], *part["value"]], {"color": GRID, "width": 6}
        span = {"x": [min(values), max(values)], "y": [height[category]] * 2}
        figure.add_scatter(**span, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    first = gains.drop_duplicates("category")
    marker, hover = {"color": ROLE["base"], "size": 11}, "base on %{text}: %{x:.3g}<extra></extra>"
    figure.add_scatter(
        x=first["base"],
        y=first["category"].map(height),
        mode="markers",
        name="base",
        marker=marker,
        text=first["category"],
        hovertemplate=hover,
    )
    for place, model in enumerate(models):
        part = gains[gains["model"] == model]
        shift = 0.14 * (place - (len(models) - 1) / 2)
        _dumbbell(figure, model, part, part["category"].map(height) + shift, colours)
    figure.update_yaxes(range=[len(categories) - 0.4, -0.6], tickvals=list(height.values()), ticktext=categories, showgrid=False)
    figure.update_xaxes(title_text=f"{unit} (lower is better)", rangemode="tozero")
    return dress(figure, 40 * len(categories) + 110)


def _dumbbell(figure: go.Figure, model: str, part: pd.DataFrame, heights: pd.Series, colours: dict[str, str]) -> None:
    role = part["role"].iloc[0]
    own = role == "own"
    name = "own adapters" if own and model == "own" else model
    colour = [colours.get(category, ACCENT) for category in part["category"]] if own else ROLE.get(role, ACCENT)
    spread = {"type": "data", "symmetric": False, "array": part["drop"] - part["low"], "arrayminus": part["high"] - part["drop"]}
    figure.add_scatter(
        x=part["value"],
        y=heights,
        mode="markers",
        name=name,
        error_x={**spread, "color": OUTLINE, "thickness": 1, "width": 2},
        marker={"color": colour, "size": 9, "symbol": "circle" if own else "diamond"},
        text=part["category"],
        customdata=part["n"],
        hovertemplate=f"{name} on %{{text}}: %{{x:.3g}}, n %{{customdata}}<extra></extra>",
    )


def routed(weights: pd.DataFrame) -> go.Figure:
    """Categories down, adapters across: the mean weight that a route gave. `weights`: its rows of route_weights.csv."""
    means = weights.pivot_table(index="category", columns="adapter", values="weight", sort=False)
    figure = go.Figure(
        go.Heatmap(
            z=means.to_numpy(),
            x=list(means.columns),
            y=list(means.index),
            texttemplate="%{z:.2f}",
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=2,
            ygap=2,
            colorscale=[[0, DIVERGING[1][1]], [1, ROLE["route"]]],
            textfont={"color": INK},
            hovertemplate="%{x} on %{y}: mean weight %{z:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(side="top", showgrid=False, tickangle=-35 if len(means.columns) > 4 else 0)
    return dress(figure, 34 * len(means) + 130, legend=False)


def rows_by_category(counts: pd.DataFrame) -> go.Figure:
    """Rows per category, split by split: category, split, value."""
    figure = go.Figure()
    shades = {"train": "#136F63", "validation": "#7FB8AE", "test": "#D9A441"}
    for split, colour in shades.items():
        part = counts[counts["split"] == split]
        hover = f"{split} rows of %{{y}}: %{{x:,}}<extra></extra>"
        figure.add_bar(y=part["category"], x=part["value"], name=split, orientation="h", marker_color=colour, hovertemplate=hover)
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title_text="rows")
    return dress(figure, 30 * counts["category"].nunique() + 110)


def weights(recipe: dict[str, float]) -> go.Figure:
    """The weight of each adapter in a mix; an adapter at 0 is off and stays visible."""
    names = list(recipe)
    values = list(recipe.values())
    colours = hues(names)
    figure = go.Figure(
        go.Bar(
            y=names,
            x=values,
            orientation="h",
            marker_color=[colours[name] for name in names],
            text=[three(value) for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.3g}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title_text="weight")
    return dress(figure, 30 * len(names) + 80, legend=False)


def dress(figure: go.Figure, height: int, legend: bool = True) -> go.Figure:
    """What all figures share: transparent ground, quiet grid, legend above, no crowding on small screens."""
    figure.update_layout(
        height=height,
        showlegend=legend,
        margin={"l": 8, "r": 16, "t": 36, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "title_text": "", "traceorder": "normal"},
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True)
    return figure
