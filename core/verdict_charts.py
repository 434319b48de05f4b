"""Figures of verdicts: outcomes with the interval of the win share, and slices beside the whole."""

import pandas as pd
import plotly.graph_objects as go

from core import charts


def outcomes(rates: pd.DataFrame) -> go.Figure:
    """Win, tie and loss shares of the whole and per category (of the only one once): judging.win_rates. Whiskers: interval of the wins."""
    shown = rates[rates["n"] > 0]
    shown = shown.iloc[1:] if len(shown) == 2 else shown  # one category: the whole is the same again
    figure = go.Figure()
    for outcome, column in (("win", "wins"), ("tie", "ties"), ("loss", "losses")):
        figure.add_bar(
            y=shown["category"],
            x=shown[column] / shown["n"],
            name=outcome,
            orientation="h",
            marker_color=charts.OUTCOME[outcome],
            text=[f"{value:,}" if value else "" for value in shown[column]],
            textposition="inside",
            insidetextanchor="start" if outcome == "win" else "end",
            customdata=shown["n"],
            hovertemplate=f"{outcome} on %{{y}}: %{{x:.1%}}, n %{{customdata}}<extra></extra>",
        )
    spread = {
        "type": "data",
        "symmetric": False,
        "array": shown["high"] - shown["win_rate"],
        "arrayminus": shown["win_rate"] - shown["low"],
    }
    figure.add_scatter(
        x=shown["win_rate"],
        y=shown["category"],
        mode="markers",
        marker={"color": charts.INK, "size": 4},
        error_x={**spread, "color": charts.INK, "thickness": 1.5, "width": 4},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    return charts.dress(figure, 36 * len(shown) + 100)


def slices(table: pd.DataFrame, whole: float) -> go.Figure:
    """Win share of each slice with its interval, a line at the share of the whole; grey where the interval holds it: judging.slices."""
    shown = table[table["n"] > 0]
    apart = (shown["low"] > whole) | (shown["high"] < whole)
    spread = {"array": shown["high"] - shown["win_rate"], "arrayminus": shown["win_rate"] - shown["low"]}
    figure = go.Figure(
        go.Scatter(
            y=shown["slice"],
            x=shown["win_rate"],
            mode="markers",
            marker={"color": [charts.ACCENT if clear else charts.GREY for clear in apart], "size": 10},
            error_x={"type": "data", "symmetric": False, **spread, "color": charts.OUTLINE, "thickness": 1.2, "width": 3},
            customdata=shown["n"],
            hovertemplate="%{y}: %{x:.1%}, n %{customdata}<extra></extra>",
        )
    )
    figure.add_vline(x=whole, line={"color": charts.OUTLINE, "width": 1, "dash": "dot"})
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(tickformat=".0%", range=[0, 1], title_text="share of wins")
    return charts.dress(figure, 32 * len(shown) + 90, legend=False)
