"""The playground's controls: who answers, a mix made of adapters, demo prompts, how answers are drawn, and the link."""

from collections.abc import Mapping, Sequence

import streamlit as st

from core import playground, read_only
from core.playground import Play
from core.presets import GENERATION
from core.serve import names
from core.who_answers import Cast
from core.wording import plain
from pages import engine, playground_state
from pages.playground_state import KEY

CHIPS = 2
"""Demo prompts that stand open while nothing has been asked."""
MIXED = 4
"""Adapters that the builder offers unasked."""
KEPT = {"persist_state": "session"}
Prompts = Mapping[str, Sequence[str]]
"""Demo prompts by category; '' are the general ones."""


def models(cast: Cast, mixes: bool) -> None:
    """Who answers. `mixes`: whether the engine can mix and route."""
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    with left:
        chosen = st.session_state[f"{KEY}.models"]
        known = cast.names if mixes else [name for name in cast.names if name not in cast.routes]
        st.multiselect(
            f"Models, up to {_words(playground.MOST)} side by side",
            list(dict.fromkeys([*known, *chosen])),
            key=f"{KEY}.models",
            max_selections=playground.MOST,
            accept_new_options=True,
            placeholder="choose who answers",
            help="base, adapters, merges, routes, or a mix typed like mix:law=0.5,cynic=0.5",
            **KEPT,
        )
    if len(cast.shelf.infos) > 1 and mixes:
        with right, st.popover("Make a mix", icon=":material/tune:", width="stretch"):
            _builder(cast)
    if cast.shelf.infos and not mixes:
        st.caption("vLLM serves adapters and merges. Mixes and routes need Lyceum's own engine.")


def _words(number: int) -> str:
    return ("none", "one", "two", "three", "four")[number]


def _builder(cast: Cast) -> None:
    """Adapters with a number each; the mix joins the columns."""
    adapters = list(cast.shelf.infos)
    st.session_state.setdefault(f"{KEY}.parts", (cast.shelf.to_mix or adapters)[:2])
    chosen = st.multiselect("Adapters", adapters, key=f"{KEY}.parts", **KEPT)
    weights = {}
    for name in chosen:
        st.session_state.setdefault(f"{KEY}.weight.{name}", 0.5)
        weights[name] = st.number_input(plain(name), -4.0, 4.0, step=0.1, key=f"{KEY}.weight.{name}", help="Weight: 0 is off.", **KEPT)
    name = names.mix_name(weights)
    full = len(st.session_state[f"{KEY}.models"]) >= playground.MOST
    if chosen:
        st.code(name, language=None, wrap_lines=True)
    st.button("Add this mix", key=f"{KEY}.add", type="primary", on_click=_add, args=(name,), disabled=full or not chosen)
    if full:
        st.caption("Four models stand side by side already: take one away first.")


def _add(name: str) -> None:
    if name not in st.session_state[f"{KEY}.models"]:
        st.session_state[f"{KEY}.models"] = [*st.session_state[f"{KEY}.models"], name]


def question(going: bool, conversation: bool) -> None:
    """The box. What is sent is asked in the run that follows."""
    said = "Go on: ask the next question" if conversation else "Ask something"
    st.chat_input(said, key=f"{KEY}.question", disabled=going, on_submit=_sent, max_chars=20_000)


def _sent() -> None:
    playground_state.ask(str(st.session_state[f"{KEY}.question"] or ""))


def chips(prompts: Prompts) -> None:
    """A few demo prompts to begin with: the shortest ones, each of another category."""
    shortest = sorted((min(questions, key=len), category) for category, questions in prompts.items() if category and questions)
    for place, (text, category) in enumerate(sorted(shortest, key=lambda each: len(each[0]))[:CHIPS] or [(prompts[""][0], "")]):
        label = f"{category}: {text}" if category else text
        given = {"on_click": playground_state.begin_with, "args": (text, category), "type": "tertiary"}
        st.button(plain(label), key=f"{KEY}.chip.{place}", icon=":material/subdirectory_arrow_right:", **given)


def demos(prompts: Prompts, going: bool) -> None:
    """All demo prompts, a category at a time."""
    with st.popover("Demo prompts", icon=":material/lightbulb:", disabled=going):
        st.caption("From the data's validation and test rows, which no adapter was trained on. Each begins a new conversation.")
        category = st.selectbox("Category", list(prompts), format_func=lambda name: name or "general", key=f"{KEY}.demos") or ""
        for place, text in enumerate(prompts[category]):
            given = {"on_click": playground_state.begin_with, "args": (text, category), "width": "stretch"}
            st.button(plain(text), key=f"{KEY}.demo.{category}.{place}", **given)


def settings(categories: Sequence[str], running: bool) -> None:
    """How answers are drawn, and the system prompt."""
    with st.popover("Settings", icon=":material/settings:"):
        preset = st.session_state[f"{KEY}.preset"]
        named = GENERATION.get(preset or "", {})
        st.segmented_control("Preset", list(GENERATION), key=f"{KEY}.preset", help=_presets(), **KEPT)
        for place, (name, (label, low, high, step, usual)) in zip(st.columns(2) * 2, _NUMBERS.items(), strict=True):
            stands = str(named.get(name, usual))
            place.number_input(label, low, high, step=step, value=None, key=f"{KEY}.{name}", placeholder=stands, **KEPT)
        if read_only.active():
            st.caption(f"In this demo answers end at {read_only.LONGEST_ANSWER} tokens.")
        told = "{category} stands for the category below, or else for an adapter's own; a model with neither then gets no system prompt."
        st.text_area("System prompt", key=f"{KEY}.system_prompt", height=90, help=told, **KEPT)
        known = list(dict.fromkeys(["", *categories, st.session_state[f"{KEY}.category"]]))
        st.selectbox("Category", known, format_func=lambda name: name or "none", key=f"{KEY}.category", accept_new_options=True, **KEPT)
        if running:
            engine.stop_button(f"{KEY}.engine.stop")


_NUMBERS = {
    "temperature": ("Temperature", 0.0, 2.0, 0.1, 1),
    "top_p": ("Top p", 0.01, 1.0, 0.05, 1),
    "max_tokens": ("Longest answer", 1, 8192, 16, playground.LONGEST),
    "seed": ("Seed", 0, 2**32 - 1, 1, "another each time"),
}
"""Label, least, most, step, and what counts where neither the field nor the preset says; that stands in the empty field."""


def _presets() -> str:
    said = (f"{name}: {', '.join(f'{field} {value}' for field, value in values.items())}" for name, values in GENERATION.items())
    return plain("; ".join(said)) + ". What is typed below overrides it."


def link(play: Play, first: Play) -> None:
    """The address of this state."""
    with st.popover("Link", icon=":material/link:"):
        if playground_state.fits(play, first):
            st.caption("Opens this page with the same models, settings and questions. It asks nothing until a button is pressed.")
            st.code(playground_state.address(play, first), language=None, wrap_lines=True)
        else:
            st.caption("The conversation is longer than an address can be, so there is no link to it.")


def said(play: Play) -> str:
    """How answers are drawn, in a line."""
    drawing = play.drawing
    values = GENERATION.get(drawing.preset or "", {}) | {name: value for name, value in drawing if value is not None and name != "preset"}
    values |= {"max_tokens": playground.longest(drawing)}
    parts = [f"{label.lower()} {values[name]}" for name, (label, *_) in _NUMBERS.items() if name in values]
    return plain(f"{drawing.preset or 'own settings'}: {', '.join(parts)}" + (f"; category {play.category}" if play.category else ""))
