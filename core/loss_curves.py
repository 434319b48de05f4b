"""Loss curves of one adapter or of a thousand: small multiples up to twelve, beyond that a few in colour over all others in grey."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.charts import GREY, HUES, OUTLINE, dress, hues
from core.training import thinned
from core.wording import count, three

MOST = len(HUES)
"""Adapters that get a small picture each."""
LOWEST, HIGHEST = "#0072B2", "#D55E00"
"""The adapters with the lowest and the highest validation loss: blue and vermilion, apart for every eye."""
_CHOSEN = tuple(hue for hue in HUES if hue not in (LOWEST, HIGHEST))
_POINTS = 400
_DASHES = ("solid", "dash", "dot", "dashdot")


def small_multiples(steps: pd.DataFrame, columns: int = 3) -> go.Figure:
    """A picture per adapter over common axes: training loss thin, validation loss with points, the best validation marked.

    `steps`: results.Step with `run`; several runs are overlaid, the first solid, the others dashed.
    """
    adapters, run_names = list(dict.fromkeys(steps["adapter"])), list(dict.fromkeys(steps["run"]))
    columns = min(columns, len(adapters)) or 1
    rows = math.ceil(len(adapters) / columns)
    spacing = 0.34 / (rows + 1)
    figure = make_subplots(rows, columns, shared_xaxes="all", shared_yaxes="all", subplot_titles=adapters, vertical_spacing=spacing)
    colours = hues(adapters)
    for place, adapter in enumerate(adapters):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        for order, run in enumerate(run_names):
            part = steps[(steps["adapter"] == adapter) & (steps["run"] == run)]
            _losses(figure, part, colours[adapter], order, f" · {run}" if len(run_names) > 1 else "", at)
    for place in range(max(0, len(adapters) - columns), len(adapters)):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        figure.update_xaxes(title_text="optimiser step", showticklabels=True, **at)
    figure.update_yaxes(title_text="loss, nats per token", col=1)
    return dress(figure, 340 if rows == 1 else 190 * rows + 70, legend=False)


def highlighted(steps: pd.DataFrame, lowest: str | None, highest: str | None, chosen: list[str]) -> go.Figure:
    """All adapters in one picture: the chosen ones and those of lowest and highest validation loss in colour, the others thin and grey.

    The grey lines are validation losses, or training losses while none has been measured. `steps`: as in `small_multiples`.
    """
    run_names = list(dict.fromkeys(steps["run"]))
    figure, colours = go.Figure(), _colours(lowest, highest, chosen)
    first = steps[steps["run"] == run_names[0]]
    _others(figure, first[~first["adapter"].isin(list(colours))])
    for adapter, colour in colours.items():
        said = {lowest: " (lowest)", highest: " (highest)"}.get(adapter, "")
        for order, run in enumerate(run_names):
            part = steps[(steps["adapter"] == adapter) & (steps["run"] == run)]
            suffix = f" · {run}" if len(run_names) > 1 else ""
            _losses(figure, part, colour, order, f" · {adapter}{suffix}")
            line = {"color": colour, "width": 2.2, "dash": _DASHES[order % 4]}
            figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=f"{adapter}{said}{suffix}", showlegend=True)
    figure.update_xaxes(title_text="optimiser step")
    figure.update_yaxes(title_text="loss, nats per token")
    return dress(figure, 500)


def _colours(lowest: str | None, highest: str | None, chosen: list[str]) -> dict[str, str]:
    colours = {name: colour for name, colour in ((lowest, LOWEST), (highest, HIGHEST)) if name is not None}
    others = [name for name in chosen if name not in colours]
    return colours | {name: _CHOSEN[place % len(_CHOSEN)] for place, name in enumerate(others)}


def _others(figure: go.Figure, steps: pd.DataFrame) -> None:
    """One grey trace for all, broken between adapters: a trace each would take seconds to draw."""
    column = "validation_loss" if steps["validation_loss"].notna().any() else "loss"
    lines = thinned(steps.dropna(subset=[column]), 40).sort_values("adapter", kind="stable")
    if lines.empty:
        return
    names = lines["adapter"].to_numpy(object)
    breaks = np.flatnonzero(names[1:] != names[:-1]) + 1
    figure.add_scatter(
        x=np.insert(lines["step"].to_numpy(float), breaks, np.nan),
        y=np.insert(lines[column].to_numpy(float), breaks, np.nan),
        text=np.insert(names, breaks, ""),
        mode="lines+markers",
        line={"color": GREY, "width": 0.8 if len(breaks) < 100 else 0.4},
        marker={"color": GREY, "size": 2.5},
        opacity=0.55,
        name=count(lines["adapter"].nunique(), "other adapter"),
        hovertemplate="%{text}, step %{x}: %{y:.3f}<extra></extra>",
    )


def _losses(figure: go.Figure, part: pd.DataFrame, colour: str, order: int, suffix: str, at: dict[str, int] | None = None) -> None:
    """One adapter of one run: training, validation, and a star with its value at the best validation."""
    at, dash, hover = at or {}, _DASHES[order % 4], "step %{x}: %{y:.3f}<extra>"
    smooth = thinned(part.assign(loss=part["loss"].ewm(span=max(2, len(part) // 25)).mean()), _POINTS)
    seen = part.dropna(subset=["validation_loss"])
    thin, thick = ({"color": colour, "width": width, "dash": dash} for width in (1, 2.2))
    hidden = {"showlegend": False, **at}
    said = f"{hover}training{suffix}</extra>"
    figure.add_scatter(x=smooth["step"], y=smooth["loss"], line=thin, opacity=0.65, mode="lines", hovertemplate=said, **hidden)
    said = f"{hover}validation{suffix}</extra>"
    points = {"mode": "lines+markers", "marker_size": 5, "marker_color": colour}
    figure.add_scatter(x=seen["step"], y=seen["validation_loss"], line=thick, hovertemplate=said, **points, **hidden)
    if len(seen):
        best = seen.loc[[seen["validation_loss"].idxmin()]]
        figure.add_scatter(
            x=best["step"],
            y=best["validation_loss"],
            mode="markers+text",
            marker={"symbol": "star", "size": 12, "color": colour, "line": {"width": 1, "color": OUTLINE}},
            text=[three(value) for value in best["validation_loss"]],
            textposition="top center",
            hovertemplate=f"best validation{suffix}, step %{{x}}: %{{y:.3f}}<extra></extra>",
            **hidden,
        )
