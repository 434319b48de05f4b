"""The documents: what was indexed and what was refused, and how the encoder lays them out."""

import streamlit as st

from core import rag_charts, rag_findings, rag_tables
from core.rag_tables import RagRun
from core.results import ALL
from core.wording import count, plain, three
from pages import parts

MANY = 5000
"""Rows of a table that are shown; all are in its file."""


def documents(found: RagRun) -> None:
    """Files by name, those that were refused first, with the reason."""
    table = found.documents
    st.markdown(plain(rag_findings.documents(table)))
    shown = table.sort_values("status", key=lambda status: status != "refused", kind="stable").drop(columns="run")
    st.dataframe(shown.iloc[:MANY], hide_index=True, key="documents", height=320, alt="Documents and what became of them")
    with st.container(horizontal=True):
        parts.download("documents.csv", table)
        parts.download_file(found.run.path / "passages.csv", "passages.csv")


def embeddings(found: RagRun) -> None:
    """The map of passages, and the figures of each encoder."""
    places = rag_tables.places(found)
    if len(places):
        groups = count(places["group"].nunique(), "group")
        said = f"{count(len(places), 'passage')} of {groups} of documents, by the first two principal components of their embeddings."
        st.plotly_chart(rag_charts.scatter(places), alt=said, config={"displayModeBar": False})
        st.caption(f"{plain(said)} Near each other here means alike only as far as two of the components show it.")
    table = found.embeddings
    categories = [ALL, *(name for name in dict.fromkeys(table["category"]) if name != ALL)]
    category = st.selectbox("Category of embeddings", categories, key="embedding_category", bind="query-params", width=300) or ALL
    mine = table[table["category"] == category].drop(columns=["run", "category"])
    shown = mine.assign(**{name: [three(value) for value in mine[name]] for name in ("value", "low", "high")})
    st.dataframe(shown, hide_index=True, key="embeddings", alt="Figures of the embeddings")
    parts.download("embeddings.csv", table)
