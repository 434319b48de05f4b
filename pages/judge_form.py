"""The form of a judge run, with what it will ask for before the button."""

import streamlit as st

from core import paths, queries
from core.config import JudgeConfig
from core.errors import UserError
from core.wording import plain
from pages import form

FIELDS = ["answers", "candidate", "backend", "judge_model", "base_url", "prompt", "repeats", "limit"]


def show() -> None:
    """The fields, what the run will ask for, and the button."""
    evaluated = queries.runs_with("evaluate", "answers.csv")
    known = {"answers": ["last", *(run.run_id for run in evaluated)], "prompt": prompts()}
    config = form.settings("judge", FIELDS, known)
    if config is None:
        return
    if evaluated:
        st.caption(plain(cost(str(config.model_dump_json()), evaluated[0].run_id)))
    form.begin({"judge": "Judge"}, config)


def prompts() -> list[str]:
    """Ids of the prompt files."""
    return sorted(file.stem for file in (paths.PROJECT / "core" / "judge" / "prompts").glob("*.txt"))


@st.cache_data(show_spinner=False, max_entries=32, ttl=60)
def cost(config: str, newest: str) -> str:
    """What each judge has still to be asked, or why it can't be. `newest`: the evaluation that 'last' means."""
    from core.judge.expected import expected

    try:
        asked = [f"{judge}: {forecast.sentence()}" for judge, forecast in expected(JudgeConfig.model_validate_json(config))]
        return " ".join(asked) or "These judges run on this machine: they cost no money."
    except UserError as error:
        return str(error)
