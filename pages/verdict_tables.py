"""What the pages hold of judged runs: each run's tables, made ready once per file and shared by all who look at them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from core import exports, judged_runs, judging, paths, queries, read_only, results, verdict_findings, verdict_index
from core.judge.people import nameless
from core.results import Answer, AuditFigure, Row, Verdict, parquet
from core.results.asked import Asked
from core.runs import Run
from core.verdict_findings import Judged
from core.verdict_table import Found, VerdictTable
from pages import parts, preparing
from pages.parts import State

VERDICTS = "verdicts.csv"
MOST_FOUND = 20_000
"""Rows that filters leave, in one file."""


def runs() -> list[Run]:
    """Finished runs with verdicts, ours and imported ones: the person's first, newest first, then the stages of demos."""
    found = [run for verb in ("judge", "audit") for run in queries.runs_with(verb, VERDICTS)]
    return sorted(sorted(found, key=lambda run: run.created_at, reverse=True), key=lambda run: run.of_demo)


def opened(run: Run) -> VerdictTable:
    """A run's verdicts, ready to be filtered. Those of a large table that nobody has looked at yet are made ready first."""
    file, state = run.path / VERDICTS, _files(run)
    if _large(state[:1]) and not verdict_index.is_made(file):
        why = "These verdicts are made ready to be searched, once"
        preparing.wait(state, lambda said: verdict_index.made(file, said), "verdict", why)
    return _opened(state)


def judged(run: Run) -> dict[str, Judged]:
    """What each judge of a run found, with its audit card."""
    opened(run)
    return _judged(_files(run), _audit(run))


def card(run: Run) -> pd.DataFrame:
    """The whole audit card: about all judges of a run together, then about each."""
    opened(run)
    return _card(_files(run), _audit(run))


def headline(run: Run) -> str:
    """The finding of a run: a sentence for each judge; of one whose card is red, why there is none."""
    return verdict_findings.headline(judged(run))


def too_large(run: Run) -> str:
    """Why a run's verdicts aren't sent to a browser, and where they are; empty where they can be sent."""
    said = parts.too_large(run.path / VERDICTS)
    return said and f"{said}; of what the filters leave the first {MOST_FOUND:,} can be taken from here."


def found(table: VerdictTable, chosen: Found) -> bytes:
    """The rows that filters leave, as CSV, in their order; the first MOST_FOUND."""
    return table.take(chosen.places(MOST_FOUND)).to_csv(index=False).encode()


def files(run: Run) -> list[tuple[str, str, Callable[[], bytes]]]:
    """Name, kind and content of each file that can be taken away."""
    if too_large(run):
        return []
    return [
        (VERDICTS, "text/csv", (run.path / VERDICTS).read_bytes),
        (exports.JUDGMENTS, "text/csv", lambda: exports.judgments(results.read(run.path / VERDICTS, Verdict)).to_csv(index=False).encode()),
        *((f"llm_comparator_{paths.slug(judge)}.json", "application/json", partial(_comparator, run, judge)) for judge in judged(run)),
    ]


def title(run: Run) -> str:
    """A run by its candidate, its judge and its day."""
    return f"{run.outputs.get('candidate', 'verdicts')} by {run.outputs.get('judge', 'several judges')} · {parts.label(run)}"


def sliced(run: Run, by: str, judge: str) -> tuple[pd.DataFrame, float]:
    """judging.slices of one judge's verdicts ('all': of all) by a column, length, flag or theme; and the win rate of the whole."""
    return _sliced(_files(run), by, judge)


def beside_people(run: Run) -> pd.DataFrame:
    """How far each judge agrees with people: rows of audit.csv."""
    return _beside_people(_files(run), _votes_state())


def compared(run: Run, other: Run) -> pd.DataFrame:
    """Two runs by McNemar's test: rows of audit.csv."""
    for each in (run, other):
        opened(each)
    return _compared(_files(run), _files(other))


def votes() -> pd.DataFrame:
    """core.judge.arena.votes, read again only when a file has changed. In read-only mode reviewers have numbers in place of names."""
    found = _votes(_votes_state())
    return nameless(found) if read_only.active() else found


def people() -> "pd.Series[str]":
    """Pair -> what most people said of it."""
    return _people(_votes_state())


def losses(run: Run, base: str, candidate: str, category: str, question: str, reference: str) -> dict[str, float]:
    """Nats per token of a reference with the base and with the candidate, where the answers that were judged have both; else nothing."""
    file = _evaluation(run) / "answers.csv"
    found = _losses(parts.state(file), base, candidate, category, question, reference)
    return found if len(found) == 2 else {}


def _comparator(run: Run, judge: str) -> bytes:
    from core.judge.formats import llm_comparator

    rows = results.read(run.path / VERDICTS, Verdict)
    return llm_comparator.exported(rows[rows["judge"] == judge]).encode()


def _evaluation(run: Run) -> Path:
    """The folder of the answers that were judged; of imported verdicts their own."""
    answers = run.outputs.get("answers")
    return (paths.home() / str(answers)).parent if answers else run.path


def _files(run: Run) -> State:
    return parts.state(run.path / VERDICTS, run.path / "themes.csv", _evaluation(run) / "flags.csv")


def _audit(run: Run) -> State:
    return parts.state(run.path / "audit.csv")


def _votes_state() -> State:
    return parts.state(*sorted(paths.results().glob("*/votes.csv")))


def _read(state: State, name: str, row_type: type[Row]) -> pd.DataFrame:
    path = next((Path(path) for path, *_ in state if Path(path).name == name), None)
    return results.read(path, row_type) if path else pd.DataFrame(columns=row_type.columns())


@st.cache_data(show_spinner=False, max_entries=64)
def _large(state: State) -> bool:
    return parquet.is_large(Path(state[0][0]), Verdict)


@st.cache_resource(show_spinner="Making the verdicts ready to be searched", max_entries=4)
def _opened(state: State) -> VerdictTable:
    file, *beside = (Path(path) for path, *_ in state)
    flags, themes = (next((each for each in beside if each.name == name), file.with_name(name)) for name in ("flags.csv", "themes.csv"))
    return VerdictTable.opened(file, flags, themes)


@st.cache_resource(show_spinner="Counting the verdicts", max_entries=16)
def _judged(state: State, audit: State) -> dict[str, Judged]:
    return judged_runs.by_judge(_opened(state).counted(), _card(state, audit))


@st.cache_resource(show_spinner="Auditing the judge", max_entries=16)
def _card(state: State, audit: State) -> pd.DataFrame:
    """audit.csv; of a run from before there were audits the same worked out now."""
    written = _read(audit, "audit.csv", AuditFigure)
    return written if len(written) else judged_runs.audited(_opened(state).counted("pair"))


@st.cache_resource(show_spinner=False, max_entries=64)
def _sliced(state: State, by: str, judge: str) -> tuple[pd.DataFrame, float]:
    return _opened(state).sliced(by, judge)


@st.cache_resource(show_spinner=False, max_entries=8)
def _beside_people(state: State, votes: State) -> pd.DataFrame:
    from core.judge import audit

    return pd.DataFrame(audit.with_people(_opened(state).counted("pair"), _votes(votes)), columns=AuditFigure.columns())


@st.cache_resource(show_spinner=False, max_entries=8)
def _compared(state: State, other: State) -> pd.DataFrame:
    from core.judge import audit

    return pd.DataFrame(audit.against(_opened(state).counted("pair"), _opened(other).counted("pair")), columns=AuditFigure.columns())


@st.cache_resource(show_spinner=False, max_entries=4)
def _votes(state: State) -> pd.DataFrame:
    from core.judge import arena

    return arena.votes()


@st.cache_resource(show_spinner=False, max_entries=4)
def _people(state: State) -> "pd.Series[str]":
    return judging.people(_votes(state))


@st.cache_resource(show_spinner="Reading the answers", max_entries=4)
def _answers(state: State) -> Asked:
    return Asked.opened(Path(state[0][0]), Answer) if state else Asked(pd.DataFrame(columns=Answer.columns()), Answer)


@st.cache_data(show_spinner=False, max_entries=1024)
def _losses(state: State, base: str, candidate: str, category: str, question: str, reference: str) -> dict[str, float]:
    """A table of one's own, as of two systems' answers, has no losses; then there are none."""
    answers = _answers(state)
    needed = ("model", "category", "question", "reference", "reference_loss", "reference_tokens")
    if not set(needed) <= set(answers.columns):
        return {}
    where = " AND ".join(f"{name} = ${name}" for name in ("category", "question", "reference"))
    loss = "first(reference_loss / reference_tokens ORDER BY place) AS loss"
    asked = f"SELECT model, {loss} FROM rows WHERE {where} AND model IN ($base, $candidate) AND reference_loss IS NOT NULL GROUP BY model"
    values = {"category": category, "question": question, "reference": reference, "base": base, "candidate": candidate}
    found = answers.ask(asked, values).set_index("model")["loss"]
    return {side: float(found[model]) for side, model in (("base", base), ("candidate", candidate)) if model in found.index}
