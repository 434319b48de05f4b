"""What the pages hold of evaluations: each one's tables, made ready once per file and shared by all who look at them."""

import pandas as pd
import streamlit as st

from core import answer_pairs, findings, queries, results, runs, win_matrix
from core.answer_pairs import Pairs
from core.queries import Evaluation
from core.results import Answer, RouteWeight, parquet
from core.runs import Run
from pages import parts, preparing
from pages.parts import State

TABLES = ("answers.csv", "models.csv", "scores.csv", "comparisons.csv", "flags.csv")


def opened(run: Run) -> Evaluation:
    """An evaluation's tables. Those of a large one that nobody has looked at yet are made ready first."""
    file, state = run.path / "answers.csv", _state(run)
    if not parquet.is_made(file) and _large(run.run_id, state):
        why = "These answers are made ready to be searched, once"
        preparing.wait(state, lambda said: parquet.made(file, Answer, said), "answer", why)
    return _opened(run.run_id, state)


def pairs(run: Run, candidate: str) -> Pairs:
    """A candidate's answers beside the baseline's."""
    opened(run)
    return _pairs(run.run_id, _state(run), candidate)


def gains(run: Run, models: list[str]) -> pd.DataFrame:
    """queries.gains."""
    opened(run)
    return _gains(run.run_id, _state(run), tuple(models))


def matrix(run: Run, metric: str) -> pd.DataFrame:
    """queries.matrix."""
    opened(run)
    return _matrix(run.run_id, _state(run), metric)


def win_rates(run: Run) -> dict[str, pd.DataFrame]:
    """win_matrix.win_rates; judge runs join within a minute."""
    opened(run)
    return _win_rates(run.run_id, _state(run))


def flag_counts(run: Run) -> pd.DataFrame:
    """answer_pairs.flag_counts."""
    opened(run)
    return _flag_counts(run.run_id, _state(run))


def route(run: Run, name: str) -> str:
    """findings.route."""
    opened(run)
    return _route(run.run_id, _state(run), name)


def _state(run: Run) -> State:
    return parts.state(*(run.path / name for name in TABLES))


@st.cache_data(show_spinner=False, max_entries=64)
def _large(run_id: str, state: State) -> bool:
    return parquet.is_large(runs.read(run_id).path / "answers.csv", Answer)


@st.cache_resource(show_spinner=False, max_entries=4)
def _opened(run_id: str, state: State) -> Evaluation:
    return queries.evaluation(runs.read(run_id))


@st.cache_resource(show_spinner=False, max_entries=4)
def _pairs(run_id: str, state: State, candidate: str) -> Pairs:
    return Pairs(_opened(run_id, state), candidate)


@st.cache_data(show_spinner=False, max_entries=16)
def _gains(run_id: str, state: State, models: tuple[str, ...]) -> pd.DataFrame:
    return queries.gains(_opened(run_id, state), models)


@st.cache_data(show_spinner=False, max_entries=32)
def _matrix(run_id: str, state: State, metric: str) -> pd.DataFrame:
    return queries.matrix(_opened(run_id, state), metric)


@st.cache_data(show_spinner=False, max_entries=8, ttl=60)
def _win_rates(run_id: str, state: State) -> dict[str, pd.DataFrame]:
    return win_matrix.win_rates(_opened(run_id, state))


@st.cache_data(show_spinner=False, max_entries=16)
def _flag_counts(run_id: str, state: State) -> pd.DataFrame:
    return answer_pairs.flag_counts(_opened(run_id, state))


@st.cache_data(show_spinner=False, max_entries=16)
def _route(run_id: str, state: State, name: str) -> str:
    weights = results.read(runs.read(run_id).path / "route_weights.csv", RouteWeight)
    return findings.route(_opened(run_id, state), name, queries.led_to_own(weights[weights["model"] == name]))
