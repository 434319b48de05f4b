"""What the mix is asked: pinned questions, the data whose validation rows give the losses, and the link that holds all of it."""

from collections.abc import Sequence

import streamlit as st

from core import console, paths
from core.config import DataConfig
from core.console import Play, Question, Shelf
from core.data.read import QA, read
from core.errors import UserError
from core.wording import plain
from pages import engine, form, link

MOST = 6
"""Questions that are pinned at once."""
AT_FIRST = 2
PER_CATEGORY = 40
"""Validation questions of each category that can be chosen from."""


def usual(shelf: Shelf) -> Play:
    """Data, system prompt and lengths as most of the adapters were trained with."""
    names = list(shelf.infos)
    values = {name: shelf.usual(name, names, getattr(Play(), name)) for name in ("data", "system_prompt", "max_seq_length")}
    return Play(**values, questions=tuple(console.pinned()))


def put(play: Play) -> None:
    """Put a state into the widgets."""
    known = {_label(each): each for each in play.questions}
    st.session_state["play.known"] = known
    st.session_state["play.pinned"] = list(known)[:MOST]
    for name in console.OTHERS:
        st.session_state[f"play.{name}"] = getattr(play, name) or ""


def controls(shelf: Shelf, first: Play) -> tuple[Play, dict[tuple[str, str], str], list[str]]:
    """The questions and settings as they stand, each question's reference where the data has it, and the data's categories."""
    rows = _validation(st.session_state["play.data"])
    references = {(row.category, row.question): row.answer for row in rows}
    categories = list(dict.fromkeys(row.category for row in rows)) or list(shelf.own)
    known: dict[str, Question] = {_label(each): each for each in (Question(row.category, row.question) for row in rows)} | st.session_state[
        "play.known"
    ]
    if not st.session_state["play.pinned"] and "play.touched" not in st.session_state:
        st.session_state["play.pinned"] = [_label(Question(row.category, row.question)) for row in _first(rows, shelf)]
    st.multiselect(
        "Pinned questions",
        list(known),
        key="play.pinned",
        persist_state="session",
        max_selections=MOST,
        on_change=_touched,
        placeholder="none",
        help="From the data's validation rows, which no adapter was trained on and no test uses; or your own, below.",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        _typed(categories)
        _settings()
        st.toggle(
            "Continue",
            key="play.going_on",
            persist_state="session",
            help="A move goes on in the middle of the answers that are being written; a purple seam marks where. Off: it begins them anew.",
        )
    st.session_state["play.known"] = {label: known[label] for label in st.session_state["play.pinned"] if label in known}
    return current(first), references, categories


def current(first: Play) -> Play:
    """The questions and settings as they stand in the session."""
    state = st.session_state
    if "play.data" not in state:
        return first
    return Play(
        questions=tuple(state["play.known"].values()),
        data=state["play.data"] or first.data,
        system_prompt=state["play.system_prompt"] or None,
        max_new_tokens=int(state["play.max_new_tokens"]),
        limit=int(state["play.limit"]),
        max_seq_length=first.max_seq_length,
    )


def _typed(categories: Sequence[str]) -> None:
    with st.popover("Ask your own", icon=":material/edit:"):
        st.text_area("Question", key="play.text", height=90)
        st.selectbox("Category", ["none", *categories], key="play.category", help="Its own adapter answers too.")
        st.button("Pin it", key="play.pin", on_click=_pin)


def _settings() -> None:
    with st.popover("Settings", icon=":material/tune:"):
        shared = {"persist_state": "session"}
        st.number_input("Longest answer in tokens", 1, 1024, key="play.max_new_tokens", step=16, **shared)
        st.number_input("Validation rows per category", 1, 1000, key="play.limit", help="For the losses. More: surer and slower.", **shared)
        told = "{category} stands for the question's category. Empty: none."
        st.text_area("System prompt", key="play.system_prompt", height=90, help=told, **shared)
        st.selectbox("Data", _data_files(), key="play.data", accept_new_options=True, **shared)
        if engine.find():
            engine.stop_button("engine.stop")


def _data_files() -> list[str]:
    return list(dict.fromkeys([st.session_state["play.data"], *form.datasets()]))


def _pin() -> None:
    text, category = st.session_state["play.text"].strip(), st.session_state["play.category"]
    if text and len(st.session_state["play.pinned"]) < MOST:
        question = Question("" if category == "none" else category, text)
        st.session_state["play.known"] = {**st.session_state["play.known"], _label(question): question}
        if _label(question) not in st.session_state["play.pinned"]:
            st.session_state["play.pinned"] = [*st.session_state["play.pinned"], _label(question)]
        st.session_state["play.text"] = ""
        _touched()


def _touched() -> None:
    st.session_state["play.touched"] = True


def _label(question: Question) -> str:
    return f"{question.category}: {question.question}" if question.category else question.question


def _first(rows: Sequence[QA], shelf: Shelf) -> list[QA]:
    """The first validation rows of the first categories that have an adapter."""
    categories = [category for category in dict.fromkeys(row.category for row in rows) if category in shelf.own] or [None]
    return [row for category in categories[:AT_FIRST] for row in [row for row in rows if category in (None, row.category)][:1]]


def _validation(data: str) -> list[QA]:
    """Validation rows of the data; none, with the reason, where it can't be read."""
    try:
        file = paths.data_file(data)
        return _read(data, file.stat().st_mtime_ns if file.is_file() else 0)
    except UserError as error:
        st.warning(plain(str(error)))
        return []


@st.cache_data(show_spinner="Reading the data", max_entries=4)
def _read(data: str, changed: int) -> list[QA]:
    return list(read(DataConfig(data=data)).select("validation", limit=PER_CATEGORY))


def remember(play: Play, first: Play) -> None:
    """Write the state into the address, and keep the pinned questions for the next visit."""
    link.write(console.to_link(play, first), (*console.PLAYED, *console.OTHERS, "category", "question"))
    if "play.touched" in st.session_state and console.pinned() != list(play.questions):
        console.pin(play.questions)


def address(play: Play, first: Play) -> str:
    """The link to this state."""
    return link.address(console.to_link(play, first))
