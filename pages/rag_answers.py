"""How alike the answers to one question are when one thing changes, and what a cell of the grid costs."""

import streamlit as st

from core import rag_charts, rag_findings, rag_tables
from core.rag_tables import RagRun
from core.results import ALL
from core.wording import plain, three
from pages import parts

CHANGES = {
    "pipelines": "the generator is held",
    "generators": "the pipeline is held",
    "paraphrases": "the cell is held, the question is worded otherwise",
    "draws": "the cell is held, the answer is drawn by chance",
}


def consistency(found: RagRun) -> None:
    """One measure of likeness over all that can change."""
    table = found.consistency[found.consistency["question_id"] == ALL]
    metrics = list(dict.fromkeys(table["metric"]))
    metric = st.selectbox("Measure", metrics, key="alike", bind="query-params", width=300) or metrics[0]
    mine = table[table["metric"] == metric]
    sentence = rag_findings.consistent(mine) if metric == "similarity" else f"{metric} of the answers to one question."
    st.markdown(plain(sentence))
    if mine["value"].notna().any():
        st.plotly_chart(rag_charts.alike(mine, metric), alt=sentence, config={"displayModeBar": False})
    for reason in dict.fromkeys(reason for reason in mine["reason"] if reason):
        st.caption(plain(reason))
    st.caption(plain("; ".join(f"over {over}: {how}" for over, how in CHANGES.items() if over in set(table["over"])) + "."))
    with st.expander("All figures with intervals"):
        shown = table.drop(columns=["run", "question_id"])
        st.dataframe(
            shown.assign(**{name: [three(value) for value in shown[name]] for name in ("value", "low", "high")}),
            hide_index=True,
            key="consistency",
            alt="Consistency of answers",
        )
        parts.download("consistency.csv", found.consistency)


def costs(found: RagRun) -> None:
    """Tokens and seconds of each cell."""
    table = rag_tables.costs(found)
    shown = table.assign(
        pipeline=[rag_charts.label(name) for name in table["pipeline"]],
        prompt_tokens=[f"{value:,.0f}" for value in table["prompt_tokens"]],
        retrieval_seconds=[three(value) for value in table["retrieval_seconds"]],
        answer_seconds=[three(value) for value in table["answer_seconds"]],
    )
    names = {"prompt_tokens": "prompt tokens (mean)", "retrieval_seconds": "retrieval, s (median)", "answer_seconds": "answer, s (median)"}
    st.dataframe(shown.drop(columns="model").rename(columns=names), hide_index=True, key="costs", alt="What each cell costs")
    st.caption("Seconds of an answer: of those made side by side with it, per answer. Passages cost time because they are read.")
    parts.download("rag_answers.csv", found.answers)
