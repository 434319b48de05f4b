"""The live console: controls on the left, answers on the right, losses below. Nothing is merged or written before "Bake"."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from core import console
from core.config import MergeConfig
from core.console import Play, Shelf
from core.errors import UserError
from core.merge import STRATEGIES
from core.serve import client
from core.serve.resident import Engine
from core.wording import plain
from pages import engine, form, merge_answers, merge_controls, merge_losses, merge_play, playback

TICK = 0.4
"""Seconds between two looks at what is being written."""
SLOW = 3.0
"""Seconds without a word after which the engine is asked whether a job slows it."""
SLOTS = (*merge_answers.SLOTS, *merge_losses.SLOTS)
References = Mapping[tuple[str, str], str]
"""The data's answers by category and question."""
WHY = "It keeps the base model in memory and lets the mix answer while its weights move; without it, mixes can be baked unheard."


@st.fragment(key="console")
def live(shelf: Shelf, usual: Play) -> None:
    """All of it: a move of a slider runs this function again and nothing else of the page."""
    left, right = st.columns([1, 2], gap="medium")
    with right:
        play, references, categories = merge_play.controls(shelf, usual)
    with left:
        config = merge_controls.controls(shelf, play)
    if config:
        play = replace(play, mix=console.played(config))
        merge_play.remember(play, usual)
    with right:
        if _ask(shelf, play, categories):
            st.caption(_how(play))
        (_ticking if playback.going(SLOTS) else _still)(shelf, play, references, categories)
    if config:
        with left:
            _bake(config, play, usual)


def _drawn(shelf: Shelf, play: Play, references: References, categories: Sequence[str]) -> None:
    """Answers and losses as far as they have come."""
    merge_answers.show(play, shelf, references, categories)
    merge_losses.show(play.limit, categories)


def _still(shelf: Shelf, play: Play, references: References, categories: Sequence[str]) -> None:
    """Drawn once, in a container as a fragment has one: so the browser keeps its elements when the clock starts or stops."""
    with st.container():
        _drawn(shelf, play, references, categories)


@st.fragment(run_every=TICK)
def _ticking(shelf: Shelf, play: Play, references: References, categories: Sequence[str]) -> None:
    """Drawn again and again while something is on its way; at the end the page runs once more, which stops the clock."""
    going = playback.going(SLOTS)
    _drawn(shelf, play, references, categories)
    if not going:
        st.rerun()


def _ask(shelf: Shelf, play: Play, categories: Sequence[str]) -> bool:
    """Ask the engine for all that isn't there yet, or say why it can't be asked. What was answered before stays."""
    if not play.mix:
        return False
    base_model = shelf.base_model(play.mix.adapters)
    found = engine.find()
    if found is None:
        for said in playback.troubles(SLOTS):
            st.warning(plain(said), icon=":material/error:")
        engine.start(base_model, WHY)
        return False
    if said := engine.other_base(found, base_model):
        st.warning(plain(said), icon=":material/error:")
        return False
    held = merge_controls.held()
    if play.questions:
        merge_answers.ask(found, play, held, shelf, st.session_state["play.going_on"])
    else:
        st.caption("Pin a question, and its answers stand here.")
    merge_losses.ask(found, play, held, shelf, categories)
    _troubles(found)
    return True


def _troubles(found: Engine) -> None:
    """What broke off, with a button that asks again; and a job that computes beside the engine."""
    troubles = playback.troubles(SLOTS)
    for said in troubles:
        st.warning(plain(said), icon=":material/error:")
    if troubles and st.button("Try again", key="console.again", on_click=playback.clear):
        return
    mix = playback.playing(merge_answers.MIX)
    if mix and not mix.done and mix.first is None and mix.age > SLOW and (busy := _busy(found)):
        st.caption(plain(busy))


@st.cache_data(show_spinner=False, ttl=5)
def _busy(found: Engine) -> str:
    try:
        return str(client.health(found)["busy"] or "")
    except UserError:
        return ""  # the stream says why it broke off


def _how(play: Play) -> str:
    """How the mix comes about, and how long its first words took."""
    assert play.mix
    first = merge_answers.first_words()
    if play.mix.is_weighted_sum:
        return f"The mix is played by its weights alone, exactly. {first}"
    label = plain(STRATEGIES[play.mix.strategy].label)
    return f"**Preview.** {label} needs a merge: the engine makes it for each move, in memory, and writes nothing. {first}"


def _bake(config: MergeConfig, play: Play, usual: Play) -> None:
    """The button that writes the mix, the command line, and the link to this state."""
    st.caption(plain(f"Writes a merged adapter, with its recipe and its fidelity: {merge_controls.words(config)}."))
    form.begin({"merge": "Bake this mix"}, config)
    with st.popover("Link to this state", icon=":material/link:"):
        st.caption("It opens this page with the same adapters, weights, strategy and questions. The browser's address is this link too.")
        st.code(merge_play.address(play, usual), language=None, wrap_lines=True)
