"""What pipelines find: figures against gold with intervals, how alike their rankings are, and what one finds and another misses."""

import pandas as pd
import streamlit as st

from core import rag_charts, rag_findings, rag_tables
from core.rag_tables import RagRun
from core.results import ALL
from core.wording import count, plain, three
from pages import parts
from pages.rag_grid import forget_unknown


def figures(found: RagRun) -> None:
    """One figure of every pipeline as dots with whiskers, and the whole table."""
    known = rag_tables.ranked_by(found)
    levels = list(dict.fromkeys(level for level, _ in known))
    row = st.columns(3)
    named = {"": "nothing: what a search costs"}
    forget_unknown("rag_level", levels)
    level = (
        row[0].selectbox("Had to be found", levels, format_func=lambda each: named.get(each, each), key="rag_level", bind="query-params")
        or ""
    )
    metrics = [metric for each, metric in known if each == level]
    forget_unknown("rank_metric", metrics)
    first = f"hit_rate@{found.run.config.get('top_k')}"
    metric = (
        row[1].selectbox("Figure", metrics, metrics.index(first) if first in metrics else 0, key="rank_metric", bind="query-params")
        or metrics[0]
    )
    categories = [ALL, *(name for name in dict.fromkeys(found.retrieval["category"]) if name != ALL)]
    category = row[2].selectbox("Of category", categories, key="rank_category", bind="query-params") or ALL
    table = rag_tables.retrieval(found, level, metric, category)
    if sentence := rag_findings.found_gold(found):
        st.markdown(plain(sentence))
    if table["value"].notna().any():
        st.plotly_chart(rag_charts.ranked(table, metric), alt=sentence or metric, config={"displayModeBar": False})
    if category == ALL and (said := rag_findings.against(found, level, metric)):
        st.markdown(plain(said))
    st.caption("Whiskers: 95 % interval over questions. All pipelines ranked the same passages for the same questions.")
    for reason in dict.fromkeys(reason for reason in table["reason"] if reason):
        st.caption(plain(reason))
    _all(found, level, category)


def _all(found: RagRun, level: str, category: str) -> None:
    """Every figure of every pipeline, with its interval."""
    mine = found.retrieval[(found.retrieval["level"] == level) & (found.retrieval["category"] == category)]
    said = mine.assign(said=[_with_interval(row.value, row.low, row.high) for row in mine.itertuples()])
    wide = said.pivot(index="metric", columns="pipeline", values="said").reindex(list(dict.fromkeys(mine["metric"])))
    wide = wide.reindex(columns=[name for name in found.retrievers if name in wide]).rename(columns=rag_charts.label)
    with st.expander("All figures with intervals", expanded=True):
        st.dataframe(wide.reset_index(), hide_index=True, key="ranked", alt="Figures of every pipeline")
        st.caption(f"Signature: {plain(str(mine['signature'].iloc[0]))}" if len(mine) else "")
        parts.download("retrieval_scores.csv", found.retrieval)


def _with_interval(value: float, low: float, high: float) -> str:
    return three(value) if pd.isna(low) else f"{three(value)} ({three(low)} to {three(high)})"


def differences(found: RagRun) -> None:
    """How alike the pipelines' rankings are, and which questions one answers from gold and another doesn't."""
    metrics = list(dict.fromkeys(found.overlaps["metric"]))
    metric = st.selectbox("Likeness", metrics, key="overlap", bind="query-params", width=300) or metrics[0]
    square = rag_tables.overlap(found, metric)
    sentence = rag_findings.overlaps(square, metric)
    st.markdown(plain(sentence))
    with st.container(key="overlaps"):
        st.plotly_chart(rag_charts.overlap(square, metric), alt=sentence, config={"displayModeBar": False})
    means = found.overlaps[(found.overlaps["metric"] == metric) & (found.overlaps["question_id"] == ALL)]
    shown = means[["pipeline", "other", "metric", "n"]].assign(
        value=[_with_interval(row.value, row.low, row.high) for row in means.itertuples()]
    )
    with st.expander("With intervals"):
        st.dataframe(shown, hide_index=True, key="overlap-table", alt=f"{metric} of every two pipelines")
        parts.download("overlaps.csv", found.overlaps)
    if found.graded and len(found.retrievers) > 1:
        _one_against_another(found)


def _one_against_another(found: RagRun) -> None:
    """Which questions one pipeline finds gold for and the other doesn't."""
    st.markdown("**What one finds and the other misses**")
    row, names = st.columns(3), found.retrievers
    one = row[0].selectbox("One", names, format_func=rag_charts.label, key="one", bind="query-params") or names[0]
    others = [name for name in names if name != one]
    forget_unknown("other_pipeline", others)
    other = row[1].selectbox("The other", others, format_func=rag_charts.label, key="other_pipeline", bind="query-params") or others[0]
    most = int(row[2].number_input("Among the first", 1, 100, int(found.run.config.get("top_k") or 3), key="first", bind="query-params"))
    table = rag_tables.disagreements(found, one, other, most)
    mine, theirs = table[table[one] & ~table[other]], table[~table[one] & table[other]]
    both = int((table[one] & table[other]).sum())
    names = [rag_charts.label(name) for name in (one, other)]
    told = (
        f"Of {count(len(table), 'question')} both find gold for {both:,}, {names[0]} alone for {len(mine):,}, {names[1]} alone for "
        f"{len(theirs):,}, neither for {len(table) - both - len(mine) - len(theirs):,}."
    )
    st.markdown(plain(told))
    for name, part in zip(names, (mine, theirs), strict=True):
        if len(part):
            shown = part[["category", "question"]].rename(columns={"question": f"found by {name} alone"})
            st.dataframe(shown, hide_index=True, height=min(240, 40 + 35 * len(part)), alt=f"Found by {name} alone")
