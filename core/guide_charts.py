"""The guide's pictures: what rank costs, and the singular values of an adapter."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from core.charts import ACCENT, GREY, GRID, HUES, dress
from core.lora_size import RANKS
from core.singular_values import Spectrum


def over_ranks(values: Sequence[float], chosen: tuple[int, float], full: float, unit: str) -> go.Figure:
    """One quantity over the usual ranks, both axes logarithmic: the chosen rank marked, full fine-tuning as a line above."""
    values, chosen, full = (
        [float(value) for value in values],
        (chosen[0], float(chosen[1])),
        float(full),
    )  # JSON's whole numbers end at 2^63
    hover = f"rank %{{x}}: %{{y:,.4~g}} {unit}<extra></extra>"
    figure = go.Figure()
    figure.add_scatter(x=RANKS, y=[full] * len(RANKS), mode="lines", name="full fine-tuning", line={"color": GREY, "dash": "dash"})
    figure.add_scatter(x=RANKS, y=values, mode="lines", name="this method", line={"color": ACCENT, "width": 2.5}, hovertemplate=hover)
    mark = {"color": HUES[0], "size": 12, "line": {"color": ACCENT, "width": 2}}
    figure.add_scatter(x=[chosen[0]], y=[chosen[1]], mode="markers", name="chosen", marker=mark, hovertemplate=hover)
    figure.update_xaxes(type="log", title_text="rank r", tickvals=RANKS, ticktext=[str(rank) for rank in RANKS])
    figure.update_yaxes(type="log", title_text=unit, tickvals=_ticks([*values, full]), tickformat=",~s" if full > 1e4 else ",~g")
    return dress(figure, 300)


def _ticks(values: Sequence[float]) -> list[float]:
    """1, 10, 100, ... over the span of these values; 1, 2, 5, 10, ... where it is short."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    steps = (1,) if high - low > 3 else (1, 2, 5)
    return [step * 10.0**power for power in range(low, high + 1) for step in steps]


def singular_values(found: Sequence[Spectrum]) -> go.Figure:
    """Layers across, directions upwards: the darker, the stronger. The line says how many matter (effective rank)."""
    most = max(len(each.values) for each in found)
    grid = np.full((most, len(found)), np.nan)
    for place, each in enumerate(found):
        grid[: len(each.values), place] = each.values
    names, blocks = [each.layer for each in found], list(range(len(found)))
    figure = go.Figure(
        go.Heatmap(
            z=grid,
            x=blocks,
            y=list(range(1, most + 1)),
            customdata=np.tile(np.array(names), (most, 1)),
            colorscale=[[0, "rgba(128,128,128,0.08)"], [1, ACCENT]],
            zmin=0,
            colorbar={"title": {"text": "singular value", "side": "right"}, "thickness": 10, "outlinewidth": 0},
            hovertemplate="%{customdata}<br>direction %{y}: %{z:.3g}<extra></extra>",
            hoverongaps=False,
        )
    )
    figure.add_scatter(
        x=blocks,
        y=[each.effective_rank for each in found],
        text=names,
        mode="lines+markers",
        name="effective rank",
        line={"color": HUES[0], "width": 2},
        marker={"size": 6},
        hovertemplate="%{text}<br>effective rank %{y:.3g}<extra></extra>",
    )
    figure.update_xaxes(title_text="layer, from first to last", showgrid=False)
    figure.update_yaxes(title_text="direction", gridcolor=GRID, rangemode="tozero")
    return dress(figure, 380)
