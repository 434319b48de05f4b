"""Why this word: the adapters' shares in the log-probability of one token of an answer."""

from collections.abc import Iterator

import streamlit as st

from core import answer_tokens, playground, playground_charts
from core.playground import Answer, Play
from core.serve import names
from core.serve.resident import Engine
from core.who_answers import Cast
from core.wording import duration, percent, plain
from pages import playback, playground_columns, playground_state
from pages.playground_columns import Chosen
from pages.playground_state import KEY

SLOT = f"{KEY}.why"
TICK = 0.5
Tellable = dict[tuple[str, int], Answer]
"""Answers with tokens, by model and turn."""


def show(found: Engine | None, play: Play, cast: Cast) -> None:
    """The section: who, which answer, which word; then bars and a sentence. Nothing before there are answers."""
    every = {
        (model, turn): answer
        for model in play.models
        for turn, answer in enumerate(playground_columns.answers(model, play))
        if answer.stands and answer.tokens
    }
    if not every:
        return
    with st.container(border=True):
        st.markdown("**Why this word**")
        if found is None or found.kind != "lyceum":
            st.caption("Only Lyceum's own engine can look into a mix; it does not run.")
            return
        told = {key: answer for key, answer in every.items() if key[0] != names.BASE}
        if not told:
            st.caption("Base has no adapters, so there is nothing to share among them. Choose an adapter or a mix above.")
            return
        chosen = _pick(told, cast)
        if st.button("Explain", key=f"{KEY}.explain") or st.session_state.pop(f"{KEY}.why", False):
            playground_state.want_reason(chosen)
        _reason(found, play, cast, chosen, told)


def _pick(told: Tellable, cast: Cast) -> Chosen:
    """Three boxes, which a click on a word fills."""
    clicked: Chosen | None = st.session_state.get(f"{KEY}.token")
    if clicked and (clicked.model, clicked.turn) in told and st.session_state.get(f"{KEY}.why"):
        st.session_state[f"{KEY}.why.answer"] = (clicked.model, clicked.turn)
        st.session_state[f"{KEY}.why.token"] = clicked.token
    keys = list(told)
    if st.session_state.get(f"{KEY}.why.answer") not in keys:
        st.session_state[f"{KEY}.why.answer"] = keys[-1]
    left, right = st.columns(2)
    model, turn = left.selectbox(
        "Answer", keys, format_func=lambda key: f"{cast.who(key[0]).label}, question {key[1] + 1}", key=f"{KEY}.why.answer"
    )
    spans = answer_tokens.spans(told[model, turn].tokens, told[model, turn].text)
    tokens = {span.token: span for span in spans}
    if st.session_state.get(f"{KEY}.why.token") not in tokens:
        st.session_state[f"{KEY}.why.token"] = next(iter(tokens))
    shown = {token: f"{token + 1}. {answer_tokens.quoted(span.text)} {percent(span.probability)}" for token, span in tokens.items()}
    token = right.selectbox("Word", list(shown), format_func=lambda each: shown[each], key=f"{KEY}.why.token")
    return Chosen(model, turn, token)


def _reason(found: Engine, play: Play, cast: Cast, chosen: Chosen, told: Tellable) -> None:
    """Bars and a sentence, once it was asked for."""
    if playground_state.reason() != chosen:
        st.caption("Click a word in an answer, or choose one here: bars show how much each adapter made it more or less probable.")
        return
    answers = playground_columns.answers(chosen.model, play)
    system = playground.system_message(play, chosen.model, cast.own)
    messages = playground.messages(system, play.questions[: chosen.turn + 1], [answer.text for answer in answers[: chosen.turn]])
    answer = told[chosen.model, chosen.turn]

    def read() -> Iterator[playback.Event]:
        yield playground.explain(found, chosen.model, messages, answer, chosen.token)

    playback.play(SLOT, (chosen, messages, answer.text), read)
    (_waiting if playback.going((SLOT,)) else _bars)(cast)


@st.fragment(run_every=TICK)
def _waiting(cast: Cast) -> None:
    """While the engine looks into the mix; at the end the page runs once more."""
    found = playback.playing(SLOT)
    if found is None or found.done:
        st.rerun()
    found.look()
    st.caption(f"The engine looks into the mix, {duration(found.age)} so far. It takes a dozen passes through the model.")


def _bars(cast: Cast) -> None:
    """The sentence, and a bar per adapter."""
    found = playback.playing(SLOT)
    if found is None or not found.done:
        return
    if found.error:
        st.info(plain(found.error))
        return
    (shares,) = found.look()
    sentence = playground_charts.said(shares)
    st.markdown(plain(sentence))
    if shares["shares"]:
        figure = playground_charts.shares(shares["shares"], {name: cast.hue(name) for name in shares["shares"]})
        st.plotly_chart(figure, alt=sentence, config={"displayModeBar": False}, key=f"{KEY}-shares")
