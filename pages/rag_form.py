"""The form of a comparison of pipelines, with how many answers it asks for, and how long they may take, before the button."""

import json

import streamlit as st

from core import paths, rag_tables
from core.config import RagConfig
from core.queries import OWN
from core.rag_tables import RagRun
from core.wording import count, duration, plain
from pages import form

FIELDS = ["docs_dir", "question", "questions", "pipelines", "models", "top_k", "limit", "metrics", "max_new_tokens"]


def show() -> None:
    """The fields, what the run will ask for, and the button."""
    folder = paths.PROJECT / "data" / "rag"
    shipped = [f"data/rag/{each.name}" for each in sorted(folder.iterdir()) if each.is_dir()] if folder.exists() else []
    own = [OWN] if form.adapters() else []
    known = {
        "docs_dir": shipped,
        "questions": [f"data/rag/{file.name}" for file in sorted(folder.glob("*.jsonl"))],
        "models": ["base", *own, *form.adapters(), *form.merged_adapters(), *form.routes()],
        "base_model": form.base_models(),
    }
    config = form.settings("rag", FIELDS, known)
    if config is None:
        return
    assert isinstance(config, RagConfig)
    if not config.question and not config.questions and not config.generate_questions:
        st.info("Type a question, name a file of questions, or let the base model write some with generate_questions.")
        return
    st.caption(plain(cost(config)))
    form.begin({"rag": "Compare pipelines"}, config)


def cost(config: RagConfig) -> str:
    """How many answers will be made, and how long that takes by the last comparison's pace."""
    asked = _questions(config)
    if not config.models:
        return "Retrieval alone: no model answers."
    if asked is None:
        return "How many questions there are is known when they are read."
    answers = asked * len(config.models) * len(config.answered) * (1 + config.paraphrases + config.draws)
    said = (
        f"{count(answers, 'answer')}: {count(asked, 'question')}, {count(len(config.models), 'model')}, "
        f"{count(len(config.answered), 'pipeline')}"
    )
    each = _seconds_per_answer()
    return f"{said}. {f'At the last pace about {duration(answers * each)}' if each else 'How long one takes is not known here yet'}."


def _questions(config: RagConfig) -> int | None:
    """How many are answered; None where a file would have to be read as a whole."""
    typed = bool((config.question or "").strip()) + config.generate_questions
    if not config.questions:
        return min(typed, config.limit or typed)
    file = paths.data_file(config.questions)
    if file.suffix not in (".jsonl", ".json") or not file.is_file():
        return config.limit
    state = file.stat()
    every = typed + _rows(str(file), state.st_mtime_ns)
    return min(every, config.limit or every)


@st.cache_data(show_spinner=False, max_entries=8)
def _rows(file: str, changed: int) -> int:
    with open(file, encoding="utf-8", errors="replace") as lines:
        if file.endswith(".jsonl"):
            return sum(1 for line in lines if line.strip())
        try:
            found = json.load(lines)
        except ValueError:
            return 0
    return len(found) if isinstance(found, list) else 0


def _seconds_per_answer() -> float | None:
    """Mean of the newest comparison with answers."""
    run = next((run for run in rag_tables.finished() if (run.path / "rag_answers.csv").exists()), None)
    if run is None:
        return None
    answers = RagRun(run).answers
    return float((answers["seconds"] + answers["retrieval_seconds"]).mean()) if len(answers) else None
