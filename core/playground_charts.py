"""Figure and sentence of a word's reasons: each adapter's share in its log-probability."""

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from core import charts
from core.answer_tokens import quoted
from core.wording import listed, percent, signed, three

NAMED = 3


def shares(found: Mapping[str, float], colours: Mapping[str, str]) -> go.Figure:
    """A bar per adapter, the largest share first. `found`: nats by adapter; right of 0 it made the word more probable."""
    ordered = sorted(found.items(), key=lambda item: -abs(item[1]))
    figure = go.Figure(
        go.Bar(
            y=[name for name, _ in ordered],
            x=[value for _, value in ordered],
            orientation="h",
            marker_color=[colours.get(name, charts.ACCENT) for name, _ in ordered],
            text=[signed(value) for _, value in ordered],
            textposition="auto",
            hovertemplate="%{y}: %{x:+.3f} nats<extra></extra>",
        )
    )
    figure.add_vline(x=0, line={"color": charts.OUTLINE, "width": 1})
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title_text="share of the log-probability, nats")
    return charts.dress(figure, 34 * len(ordered) + 90, legend=False)


def said(found: Mapping[str, Any]) -> str:
    """The figure in sentences. `found`: token, base and mix (log-probabilities in nats), shares by adapter."""
    base, mix = math.exp(found["base"]), math.exp(found["mix"])
    gain = found["mix"] - found["base"]
    first = f"{quoted(found['token'])} has a probability of {percent(mix)} here, and of {percent(base)} under the base model"
    if abs(gain) < 0.005:
        return f"{first}: no difference to share."
    ordered = sorted(found["shares"].items(), key=lambda item: -abs(item[1]))
    parts = [f"{name} {signed(value)}" for name, value in ordered[:NAMED]]
    more = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    times = three(math.exp(abs(gain)))
    change = f"{times} times {'more' if gain > 0 else 'less'} probable, {signed(gain)} nats"
    return f"{first}: {change}. Of these: {listed(parts) if not more else ', '.join(parts) + more}."
