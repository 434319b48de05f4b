"""Figure of the Serve page: tokens per second over the last minutes."""

from collections.abc import Sequence
from datetime import UTC, datetime

import plotly.graph_objects as go

from core import charts
from core.wording import duration, three

HEIGHT = 170


def speed(past: Sequence[tuple[float, float]]) -> go.Figure:
    """`past`: (Unix time, tokens per second), oldest first."""
    times = [datetime.fromtimestamp(when, UTC) for when, _ in past]
    figure = go.Figure(
        go.Scatter(
            x=times,
            y=[each for _, each in past],
            mode="lines",
            line={"color": charts.ACCENT, "width": 2, "shape": "hv"},
            fill="tozeroy",
            fillcolor="rgba(79,179,164,0.18)",
            hovertemplate="%{x|%H:%M:%S} UTC: %{y:.3g} tokens per second<extra></extra>",
        )
    )
    figure.update_yaxes(rangemode="tozero", title_text="tokens per second", nticks=4)
    figure.update_xaxes(tickformat="%H:%M:%S", nticks=5)
    return charts.dress(figure, HEIGHT, legend=False)


def said(past: Sequence[tuple[float, float]]) -> str:
    """The figure in a sentence."""
    speeds = [each for _, each in past]
    span = duration(past[-1][0] - past[0][0])
    return f"Tokens per second over the last {span}: {three(speeds[-1])} now, {three(max(speeds))} at most."
