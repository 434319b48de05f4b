"""What the playground's widgets hold: the state of its link, put into the session and read from it; asked for anew only by a button."""

from dataclasses import replace

import streamlit as st

from core import playground
from core.config import DrawingConfig
from core.errors import UserError
from core.playground import Play
from core.who_answers import Cast
from core.wording import plain
from pages import link, playback

KEY = "playground"
DRAWN = tuple(DrawingConfig.model_fields)
LONGEST_LINK = 6000
"""Characters of an address that browsers and servers surely take."""


def usual(cast: Cast) -> Play:
    """The state of an address that says nothing: the first models, and the system prompt that most adapters were trained with."""
    trained = cast.shelf.usual("system_prompt", list(cast.shelf.infos), None)
    return Play(models=cast.first[: playground.MOST], system_prompt=trained or "")


def begin(first: Play) -> None:
    """Put the state of the link into a session that is new to this page."""
    if f"{KEY}.models" in st.session_state:
        return
    params = {name: st.query_params.get_all(name) for name in st.query_params}
    play = first
    if "model" in params:
        try:
            play = playground.from_link(params, first)
        except UserError as error:
            st.warning(plain(str(error)), icon=":material/error:")
    st.session_state[f"{KEY}.models"] = list(play.models)
    st.session_state[f"{KEY}.questions"] = list(play.questions)
    st.session_state[f"{KEY}.system_prompt"] = play.system_prompt
    st.session_state[f"{KEY}.category"] = play.category
    for name in DRAWN:
        st.session_state[f"{KEY}.{name}"] = getattr(play.drawing, name)


def current() -> Play:
    """The state as it stands in the session."""
    state = st.session_state
    drawing = {name: state[f"{KEY}.{name}"] for name in DRAWN}
    drawing |= {name: int(drawing[name]) for name in ("max_tokens", "seed") if drawing[name] is not None}
    return Play(
        models=tuple(state[f"{KEY}.models"]),
        questions=tuple(state[f"{KEY}.questions"]),
        system_prompt=state[f"{KEY}.system_prompt"].strip(),
        category=state[f"{KEY}.category"] or "",
        drawing=DrawingConfig(**drawing),
    )


def ask(question: str) -> None:
    """Go on with a question; the engine is asked in the run that follows."""
    if question.strip():
        st.session_state[f"{KEY}.questions"] = [*st.session_state[f"{KEY}.questions"], question.strip()]
        want()


def want() -> None:
    """Ask for all answers that are missing."""
    st.session_state[f"{KEY}.wanted"] = True


def wanted() -> bool:
    """Whether answers are waited for."""
    return bool(st.session_state.get(f"{KEY}.wanted"))


def asked() -> None:
    """The engine was asked."""
    st.session_state[f"{KEY}.wanted"] = False


def begin_with(question: str = "", category: str = "") -> None:
    """A new conversation, with its first question if there is one."""
    forget()
    st.session_state[f"{KEY}.questions"] = []
    if question:
        st.session_state[f"{KEY}.category"] = category
        ask(question)


def again() -> None:
    """All questions anew, under the settings as they are."""
    forget()
    want()


def slot(model: str) -> str:
    """Where a model's answers play."""
    known: set[str] = st.session_state.setdefault(f"{KEY}.slots", set())
    known.add(f"{KEY}: {model}")
    return f"{KEY}: {model}"


def slots() -> list[str]:
    """All that were played."""
    return sorted(st.session_state.get(f"{KEY}.slots", set()))


def forget() -> None:
    """Drop all answers."""
    if slots():
        playback.clear(*slots())
    for name in ("token", "reason"):
        st.session_state.pop(f"{KEY}.{name}", None)


def remember(play: Play, first: Play) -> None:
    """Write the state into the address; one that would grow too long keeps its models and settings alone."""
    said = playground.to_link(play if fits(play, first) else replace(play, questions=()), first)
    link.write(said, ("model", "question", "system_prompt", "category", *DRAWN))


def fits(play: Play, first: Play) -> bool:
    """Whether an address can hold the state."""
    return len(link.query(playground.to_link(play, first))) <= LONGEST_LINK


def address(play: Play, first: Play) -> str:
    """The link to this state."""
    return link.address(playground.to_link(play, first))


def want_reason(chosen: object) -> None:
    """Explain a token."""
    st.session_state[f"{KEY}.reason"] = chosen


def reason() -> object:
    """The token that is explained."""
    return st.session_state.get(f"{KEY}.reason")
