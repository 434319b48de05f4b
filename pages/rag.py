"""RAG: does retrieval or tuning help, what each pipeline finds, and a question of one's own to a folder of documents."""

from collections.abc import Callable

import streamlit as st

from core import rag_findings, rag_tables
from core.rag_tables import RagRun
from core.runs import Run
from core.wording import day, plain
from pages import frame, parts, rag_answers, rag_documents, rag_form, rag_grid, rag_live, rag_questions, rag_retrieval

Section = Callable[[RagRun], None]


@st.cache_resource(show_spinner=False, max_entries=4)
def opened(run_id: str, finished_at: str) -> RagRun:
    """A finished comparison; its tables don't change any more."""
    return next(RagRun(run) for run in rag_tables.finished() if run.run_id == run_id)


@st.cache_data(show_spinner=False, max_entries=16)
def headline(run_id: str, finished_at: str) -> str:
    """The finding of a comparison."""
    return rag_findings.headline(opened(run_id, finished_at))


def label(run: Run) -> str:
    """A comparison in one line: when, of which documents."""
    return f"{day(run.created_at)} · {run.config.get('docs_dir', '')} · {run.run_id[-4:]}"


def known(found: RagRun) -> dict[str, Section]:
    """What can be looked at, by name; what a comparison has no table for is left out. The grid is always on top."""
    every: dict[str, tuple[bool, Section]] = {
        "what fixed it": (not found.fixes.empty, rag_grid.fixed),
        "retrieval": (not found.retrieval.empty, rag_retrieval.figures),
        "differences": (not found.overlaps.empty, rag_retrieval.differences),
        "question by question": (not found.questions.empty, rag_questions.show),
        "consistency": (not found.consistency.empty, rag_answers.consistency),
        "cost": (not found.answers.empty, rag_answers.costs),
        "embeddings": (not found.embeddings.empty, rag_documents.embeddings),
        "documents": (True, rag_documents.documents),
    }
    return {name: section for name, (there, section) in every.items() if there}


def sections(found: RagRun) -> None:
    """One of the closer looks; choosing or filtering reruns this part of the page alone."""
    every = known(found)
    names = list(every)
    rag_grid.forget_unknown("rag_look", names)
    chosen = st.segmented_control("Look at", names, default=names[0], key="rag_look", bind="query-params", required=True) or names[0]
    every[chosen](found)


frame.enter()
compared = rag_tables.finished()
if compared:
    title = st.container()
    run = parts.pick_run(compared, "rag_run", label)
    finding = headline(run.run_id, str(run.finished_at))
    with title:
        parts.head("RAG", finding)
    parts.watch("rag", shown=(failed := parts.failed("rag")))
    shown = opened(run.run_id, str(run.finished_at))
    if shown.metrics:
        rag_grid.picture(shown, finding)
    st.fragment(sections)(shown)
    parts.failed_line(failed)
else:
    parts.empty(
        "RAG",
        "Whether retrieval, tuning, or both give better answers from your documents, with intervals, and what each pipeline finds.",
        "A model that reads the right passage need not know it; whether that helps more than tuning is measured here.",
        "See what tuning alone did",
        "evaluate",
    )
    parts.watch("rag")

parts.doing("Ask documents")
rag_live.box(run if compared else None)
st.subheader("Compare pipelines", anchor=False)
st.caption(plain("All answers are made by one job, which goes on where it was broken off."))
rag_form.show()
