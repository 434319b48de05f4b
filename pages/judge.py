"""Judge: who is better, how sure, what speaks against the judge, and every verdict."""

import streamlit as st

from core import queries, verdict_charts, verdict_findings
from core.runs import Run
from core.verdict_findings import Judged
from core.wording import plain
from pages import audit_card, frame, judge_form, parts, verdict_browser, verdict_sections, verdict_tables

SECTIONS = {
    "verdicts": verdict_browser.show,
    "slices": verdict_sections.slices,
    "best and worst": verdict_sections.cases,
    "themes": verdict_sections.themes,
    "people": verdict_sections.people,
    "another run": verdict_sections.against,
}


def results(run: Run) -> None:
    """The outcomes with the audit beside them, and below what can be looked at more closely."""
    found = verdict_tables.judged(run)
    names = list(found)
    judge = names[0]
    if names[1:]:
        judge = st.segmented_control("Judge", names, default=judge, key="card", bind="query-params", required=True) or judge
    left, right = st.columns([3, 2])
    with left:
        outcomes(found[judge])
    with right, st.container(border=True):
        audit_card.show(found[judge])
    st.fragment(sections)(run)
    with st.expander("The whole audit, and how each figure was taken"):
        audit_card.table(verdict_tables.card(run))
    downloads(run)


def outcomes(judged: Judged) -> None:
    """Wins, ties and losses; of a judge whose card is red only on demand."""
    if judged.withheld:
        st.warning(plain(verdict_findings.withheld(judged)), icon=":material/block:")
        if not st.toggle("Show its outcomes all the same", key="outcomes", bind="query-params"):
            return
    st.plotly_chart(verdict_charts.outcomes(judged.rates), alt=f"Outcomes by {judged.judge}", config={"displayModeBar": False})
    st.caption("Whiskers: 95 % interval of the share of wins, clustered by question. What was not judged is left out and counted beside.")


def sections(run: Run) -> None:
    """One of the closer looks; choosing or filtering reruns this part of the page alone."""
    names = list(SECTIONS)
    chosen = st.segmented_control("Look at", names, default=names[0], key="look", bind="query-params", required=True) or names[0]
    SECTIONS[chosen](run)


def downloads(run: Run) -> None:
    """The verdicts as they stand, and in others' formats; made when they are asked for."""
    if said := verdict_tables.too_large(run):
        st.caption(plain(said))
    with st.container(horizontal=True):
        for name, mime, make in verdict_tables.files(run):
            st.download_button(name, make, name, mime, on_click="ignore", icon=":material/download:", key=f"download-{name}")


frame.enter()
judged_runs = verdict_tables.runs()
if judged_runs:
    title = st.container()
    shown = parts.pick_run(judged_runs, "judge_run", verdict_tables.title)
    with title:
        parts.head("Judge", verdict_tables.headline(shown))
    parts.watch("judge", shown=(failed := parts.failed("judge")))
    results(shown)
    parts.failed_line(failed)
else:
    parts.empty(
        "Judge",
        "Wins, ties and losses of the fine-tuned models against the base, with intervals, and every verdict to read.",
        "A judge reads for meaning where word overlap can't; it is asked in both orders, since the order alone can turn it, and audited.",
        "Evaluate first" if not queries.runs_with("evaluate", "answers.csv") else "See the evaluation",
        "evaluate",
    )
    parts.watch("judge")

parts.doing("Judge answers")
judge_form.show()
