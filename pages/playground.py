"""Playground: one question, up to four models or mixes side by side, written while you read; a conversation that goes on."""

import streamlit as st

from core import console, demo_prompts, paths, who_answers
from core.errors import UserError
from core.playground import Play
from core.serve import client
from core.serve.resident import Engine
from core.who_answers import Cast
from core.wording import count, listed, plain
from pages import engine, frame, parts, playground_columns, playground_controls, playground_save, playground_state, playground_why
from pages.playground_controls import Prompts
from pages.playground_state import KEY

WHY = "It keeps the base model in memory, and lets every model and mix here answer while you read."
DATA = "data/seven_schools.jsonl"


def finding(cast: Cast) -> str:
    """Who can be asked."""
    if not cast.shelf.infos:
        return "Ask the base model, over several turns. It stands alone: adapters that you train will answer beside it."
    kinds = ((len(cast.shelf.infos), "adapter"), (len(cast.merged), "merge"), (len(cast.routes), "route"))
    others = listed([count(number, noun) for number, noun in kinds if number])
    return f"One question, up to four answers side by side: the base model, {others}, and any mix of adapters."


def prompts(data: str) -> Prompts:
    """Demo prompts by category; the general ones alone where the data can't be read."""
    general = {"": list(demo_prompts.GENERAL)}
    try:
        file = paths.data_file(data)
        return {**_by_category(data, file.stat().st_mtime_ns if file.is_file() else 0), **general}
    except UserError:
        return general


@st.cache_data(show_spinner=False, max_entries=4)
def _by_category(data: str, changed: int) -> dict[str, list[str]]:
    return demo_prompts.by_category(data)


@st.fragment(key=f"{KEY}-live")
def live(cast: Cast, first: Play, demos: Prompts) -> None:
    """All of it: a question, a click or a setting runs this function again and nothing else of the page."""
    play, found = playground_state.current(), engine.find()
    if found and play.models and playground_state.wanted():
        playground_columns.ask(found, play, cast)
        playground_state.asked()
    going = playground_columns.going()
    playground_controls.models(cast, mixes=found is None or found.kind == "lyceum")
    playground_controls.question(going, bool(play.questions))
    _buttons(play, first, cast, demos, going, found)
    _engine(found, play, cast, going)
    (playground_columns.ticking if going else playground_columns.still)(play, cast)
    if play.questions and not going:
        st.caption(
            "Tint: the less sure the model was of a word, the deeper. Point at a word for its probability and what else it might have said."
        )
        playground_why.show(found, play, cast)
    playground_state.remember(play, first)


def _buttons(play: Play, first: Play, cast: Cast, demos: Prompts, going: bool, found: Engine | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if going:
            st.button("Stop", key=f"{KEY}.stop", type="primary", icon=":material/stop:", on_click=playground_columns.stop)
        elif found and play.models and (missing := playground_columns.missing(play)):
            label = f"Get {count(missing, 'missing answer')}"
            st.button(label, key=f"{KEY}.missing", type="primary", icon=":material/play_arrow:", on_click=playground_state.want)
        playground_controls.demos(demos, going)
        playground_controls.settings([name for name in demos if name], found is not None)
        if not play.questions:
            playground_controls.chips(demos)
        if play.questions:
            playground_save.show(play, cast, [name for name in demos if name])
            playground_controls.link(play, first)
            st.button("Ask all again", key=f"{KEY}.again", icon=":material/refresh:", disabled=going, on_click=playground_state.again)
            st.button("New", key=f"{KEY}.new", icon=":material/add:", on_click=playground_state.begin_with, help="A new conversation.")
    st.caption(playground_controls.said(play))


def _engine(found: Engine | None, play: Play, cast: Cast, going: bool) -> None:
    """The button that starts the engine, or why answers may be slow."""
    base_model = cast.base_model(play.models)
    if found is None:
        engine.start(base_model, WHY)
    elif cast.shelf.infos and (said := engine.other_base(found, base_model)):
        st.warning(plain(said), icon=":material/error:")
    elif going and (busy := _busy(found)):
        st.caption(plain(busy))
    if not play.models:
        st.caption("Choose who answers.")


@st.cache_data(show_spinner=False, ttl=5)
def _busy(found: Engine) -> str:
    try:
        return str(client.health(found)["busy"] or "")
    except UserError:
        return ""  # the columns say why they broke off


frame.enter()
shelf = console.shelf()
every = prompts(shelf.usual("data", list(shelf.infos), DATA))
cast = who_answers.cast([name for name in every if name])
usual = playground_state.usual(cast)
parts.head("Playground", finding(cast))
if not shelf.infos:
    st.page_link("pages/train.py", label="Train adapters", icon=":material/arrow_forward:")
playground_state.begin(usual)
live(cast, usual, every)
