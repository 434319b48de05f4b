"""The audit card: what a judge's verdicts say about the judge, a light for each figure."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from core import verdict_findings
from core.verdict_findings import Judged
from core.wording import plain

LIGHTS = {
    "green": (":material/check_circle:", "green"),
    "amber": (":material/error:", "orange"),
    "red": (":material/block:", "red"),
}
"""Icon and colour of a light; never colour alone."""


def show(judged: Judged) -> None:
    """One judge's card."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Audit**")
        light(judged.light, verdict_findings.order_tested(judged.figures))
    st.caption(plain(verdict_findings.named(judged.judge)))
    if judged.judge.startswith(verdict_findings.ORDERLESS):
        st.caption("It sees no order, so figures on the order hold by construction and have no light: a baseline for real judges.")
    lines(verdict_findings.carded(judged.figures))
    st.caption(plain(f"Cost: {judged.cost}"))


def lines(figures: pd.DataFrame) -> None:
    """The figures of a card, one under the other."""
    for figure in figures.to_dict("records"):
        st.markdown(line(figure), help=plain(figure["note"]) or None)


def light(colour: str, order_tested: bool = True) -> None:
    """The light of a whole card, in a word and with what it means."""
    if colour:
        icon, hue = LIGHTS[colour]
        st.badge(f"{colour}: {verdict_findings.meaning(colour, order_tested)}", icon=icon, color=hue)  # type: ignore[arg-type]


def line(figure: Mapping[str, Any]) -> str:
    """One figure with its interval and its light, in Markdown; an amber or red one with what was passed."""
    mark = f":{LIGHTS[figure['light']][1]}[{LIGHTS[figure['light']][0]}] " if figure["light"] else ""
    untested = figure["figure"] in verdict_findings.ORDER and pd.isna(figure["value"])
    spread = verdict_findings.spread(figure["figure"], figure["low"], figure["high"], int(figure["n"]))
    said = ["No pair was answered in both orders" if untested else spread]
    if figure["light"] in ("amber", "red"):
        said.append(figure["note"].rsplit(". ", 1)[-1])
    name = verdict_findings.label(figure["figure"])
    number = "order not tested" if untested else verdict_findings.value(figure["figure"], figure["value"])
    if figure["figure"] in verdict_findings.ORDER and not figure["light"]:
        if str(figure["note"]).startswith("By construction"):
            said.append("by construction")
        return f":gray[{plain(name)}: {plain(number)}]  \n:small[:gray[{plain(', '.join(said))}]]"
    return f"{mark}{plain(name)}: **{plain(number)}**  \n:small[:gray[{plain('. '.join(said))}]]"


def table(figures: pd.DataFrame) -> None:
    """All figures of a run that may be told, and how they were taken."""
    figures = verdict_findings.lit(verdict_findings.told(figures))
    shown = pd.DataFrame(
        {
            "judge": figures["judge"].replace("", "all together").to_numpy(),
            "figure": [verdict_findings.label(name) for name in figures["figure"]],
            "value": [verdict_findings.value(name, value) for name, value in zip(figures["figure"], figures["value"], strict=True)],
            "interval, n": [verdict_findings.spread(*row) for row in figures[["figure", "low", "high", "n"]].itertuples(index=False)],
            "light": figures["light"].to_numpy(),
            "how": figures["note"].to_numpy(),
        }
    )
    st.dataframe(shown, hide_index=True, key="audit_figures", alt="All figures of the audit")
