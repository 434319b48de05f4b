"""Figures of a comparison of RAG pipelines: the grid, rankings with intervals, overlaps, what fixed it, and the map of embeddings."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core import charts
from core.rag import NONE, PIPELINES
from core.rag_tables import OUTCOMES
from core.wording import three

_HUES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A500", "#882255", "#44AA99", "#332288")
PIPELINE = {NONE: charts.ROLE["base"]} | dict(zip((name for name in PIPELINES if name != NONE), cycle(_HUES), strict=False))
"""A hue for each pipeline, the same everywhere."""
OUTCOME = {
    "rag": PIPELINE["hybrid"],
    "tuning": charts.ROLE["pooled"],
    "either": "#44AA99",
    "both": charts.ROLE["merged"],
    "none": charts.GREY,
    "harm": charts.OUTCOME["loss"],
}
SIMILAR = [[0, charts.DIVERGING[1][1]], [1, charts.DIVERGING[2][1]]]
"""From nothing in common to the same."""
MOST_POINTS = 4000
"""Passages that are drawn on the map; beyond, every so many-th."""
HOVER_CHARACTERS = 90
WITH_INTERVAL = "%{y}: %{x:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f}), n %{customdata[2]}<extra></extra>"


def label(pipeline: str) -> str:
    """What a pipeline is called."""
    return PIPELINES[pipeline].label if pipeline in PIPELINES else pipeline


def grid(table: pd.DataFrame, metric: str, generators: Sequence[str], pipelines: Sequence[str], baseline: str) -> go.Figure:
    """Generators down, pipelines across: rag_tables.grid of one category, coloured by the gain over the baseline, with its marks."""
    cells = table.set_index(["generator", "pipeline"])
    found = [[cells.loc[(down, across)] if (down, across) in cells.index else None for across in pipelines] for down in generators]
    gains, text = [[_gain(cell) for cell in row] for row in found], [[_said(cell) for cell in row] for row in found]
    hover = [[_hover(cell, metric, baseline) for cell in row] for row in found]
    figure = charts.gain_map(gains, [label(name) for name in pipelines], list(generators), text, hover)
    figure.update_traces(textfont_size=14)
    figure.update_xaxes(type="category").update_yaxes(type="category")
    return charts.dress(figure, 44 * len(generators) + (120 if len(pipelines) > 4 else 60), legend=False)


def _gain(cell: pd.Series | None) -> float | None:
    """0 where the baseline has no such figure: a cell without a number would show no text."""
    return None if _number(cell, "value") is None else _number(cell, "gain") or 0.0


def _number(cell: pd.Series | None, name: str) -> float | None:
    return None if cell is None or pd.isna(cell[name]) else float(cell[name])


def _said(cell: pd.Series | None) -> str:
    return "" if cell is None else f"{three(_number(cell, 'value'))} {cell['mark']}".rstrip()


def _hover(cell: pd.Series | None, metric: str, baseline: str) -> str:
    if cell is None:
        return "not asked"
    if pd.isna(cell["value"]):
        return _text(f"{cell['model']}: {cell['reason'] or 'no value'}")
    unclear = "" if cell["clear"] or cell["model"] == baseline else f"<br>no difference from {_text(baseline)} seen"
    span = f"{three(cell['low'])} to {three(cell['high'])}"
    return f"{_text(cell['model'])}<br>{metric} {three(cell['value'])} ({span}), n {cell['n']}<br>{_text(str(cell['against']))}{unclear}"


def ranked(table: pd.DataFrame, metric: str) -> go.Figure:
    """One figure of each pipeline with its interval: rag_tables.retrieval."""
    spread = {"array": table["high"] - table["value"], "arrayminus": table["value"] - table["low"]}
    figure = go.Figure(
        go.Scatter(
            x=table["value"],
            y=[label(name) for name in table["pipeline"]],
            mode="markers+text",
            marker={"color": [PIPELINE[name] for name in table["pipeline"]], "size": 12},
            error_x={"type": "data", "symmetric": False, **spread, "color": charts.OUTLINE, "thickness": 1.4, "width": 4},
            text=[three(value) for value in table["value"]],
            textposition="top center",
            cliponaxis=False,
            customdata=table[["low", "high", "n"]],
            hovertemplate=WITH_INTERVAL,
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(title_text=metric)
    return charts.dress(figure, 46 * len(table) + 90, legend=False)


def overlap(square: pd.DataFrame, metric: str) -> go.Figure:
    """Pipelines by pipelines: how much they find alike, from 0 to 1: rag_tables.overlap."""
    names = [label(name) for name in square.index]
    figure = go.Figure(
        go.Heatmap(
            z=square.to_numpy(),
            x=names,
            y=names,
            texttemplate="%{z:.2f}",
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=2,
            ygap=2,
            colorscale=SIMILAR,
            textfont={"color": charts.INK},
            hovertemplate=f"%{{y}} and %{{x}}: {metric} %{{z:.3f}}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(side="top", showgrid=False, type="category", tickangle=-35 if len(names) > 4 else 0)
    return charts.dress(figure, 44 * len(names) + (120 if len(names) > 4 else 60), legend=False)


def fixed(table: pd.DataFrame) -> go.Figure:
    """Of each tuned generator with each pipeline, the shares of questions that RAG, tuning, both or neither mended: rag_tables.outcomes."""
    rows = list(dict.fromkeys(zip(table["generator"], table["pipeline"], strict=True)))
    names = [f"{generator} with {label(pipeline)}" for generator, pipeline in rows]
    counted = table.set_index(["generator", "pipeline", "outcome"])
    figure = go.Figure()
    for outcome, said in OUTCOMES.items():
        numbers = [int(counted["questions"].get((*row, outcome), 0)) for row in rows]
        totals = [int(table.loc[(table["generator"] == one) & (table["pipeline"] == other), "n"].iloc[0]) for one, other in rows]
        figure.add_bar(
            y=names,
            x=[number / total for number, total in zip(numbers, totals, strict=True)],
            name=said,
            orientation="h",
            marker_color=OUTCOME[outcome],
            text=[f"{number:,}" if number else "" for number in numbers],
            textposition="inside",
            textfont={"color": "#FFFFFF" if outcome in ("rag", "tuning", "both") else charts.INK},
            customdata=totals,
            hovertemplate=f"{said}, %{{y}}: %{{text}} of %{{customdata}} questions<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    return charts.dress(figure, 34 * len(rows) + 110)


def alike(table: pd.DataFrame, metric: str) -> go.Figure:
    """Consistency of the answers, one dot with its interval for what changes and what is held: the '(all)' rows of one metric."""
    hues = dict(zip(dict.fromkeys(table["over"]), cycle(charts.HUES[4:]), strict=False))
    figure = go.Figure()
    for over, part in table.groupby("over", sort=False):
        spread = {"array": part["high"] - part["value"], "arrayminus": part["value"] - part["low"]}
        figure.add_scatter(
            x=part["value"],
            y=[f"{over}, {held}" for held in part["held"]],
            mode="markers",
            name=f"over {over}",
            marker={"color": hues[over], "size": 10},
            error_x={"type": "data", "symmetric": False, **spread, "color": charts.OUTLINE, "thickness": 1.2, "width": 3},
            customdata=part[["low", "high", "n"]],
            hovertemplate=WITH_INTERVAL,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(title_text=metric)
    return charts.dress(figure, 26 * len(table) + 110)


def scatter(places: pd.DataFrame) -> go.Figure:
    """Passages by the first two principal components of their embeddings, coloured by group of documents: rag_tables.places."""
    shown = places.iloc[:: max(1, int(np.ceil(len(places) / MOST_POINTS)))]
    groups = list(places["group"].value_counts().index)
    hues, figure = charts.hues(groups[:12]), go.Figure()
    many = len(groups) > len(charts.HUES)
    parts = [(name, shown[shown["group"] == name]) for name in groups[:11] if many] or [(n, shown[shown["group"] == n]) for n in groups]
    if many:
        parts = [("other documents", shown[~shown["group"].isin(groups[:11])]), *parts]
    for name, part in parts:
        figure.add_scattergl(
            x=part["x"],
            y=part["y"],
            mode="markers",
            name=_text(name),
            marker={"color": hues.get(name, charts.GREY), "size": 5, "opacity": 0.7},
            text=[f"{_text(row.document)}<br>{_text(_short(row.text))}" for row in part.itertuples()],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_xaxes(title_text="first principal component", showticklabels=False)
    figure.update_yaxes(title_text="second", showticklabels=False)
    return charts.dress(figure, 520)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= HOVER_CHARACTERS else f"{flat[:HOVER_CHARACTERS]}…"


def _text(said: str) -> str:
    """Text of a document or a name for a place of plotly's that reads a few HTML tags: none is left."""
    return said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
