"""The answers: asked for in a stream each, drawn while they come in, the newest question first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import streamlit as st

from core import answer_tokens, playground
from core.playground import Answer, Play
from core.serve.resident import Engine
from core.who_answers import Cast, Who
from core.wording import count, three
from pages import playback, playground_cards, playground_state
from pages.playground_cards import Column, Part
from pages.playground_state import KEY

RECALLED = 1000.0
"""Tokens a second that no model writes one after another: such an answer was given before, and came from the engine's memory."""
TICK = 0.25
"""Seconds between two looks at what is being written."""


@dataclass(frozen=True)
class Chosen:
    """A token that is to be explained."""

    model: str
    turn: int
    token: int


def ask(found: Engine, play: Play, cast: Cast) -> None:
    """Ask every model for what it has not answered yet, each in a stream of its own."""
    for model in play.models:
        slot = playground_state.slot(model)
        if playback.going((slot,)):
            continue
        start = playground.standing(answers(model, play))
        if len(start) < len(play.questions):
            playback.clear(slot)
            playback.play(slot, (model, play), _reader(found, play, cast, model, start), start)


def _reader(found: Engine, play: Play, cast: Cast, model: str, start: list[Answer]):  # type: ignore[no-untyped-def]
    def read() -> Iterator[playback.Event]:
        return playground.stream(found, play, model, cast.own, [answer.text for answer in start])

    return read


def answers(model: str, play: Play) -> list[Answer]:
    """A model's answers to the questions, as far as they have come."""
    found = playback.playing(playground_state.slot(model))
    if found is None:
        return [Answer()] * len(play.questions)
    ended = found.done or found.dropped
    return playground.fold(found.start[: len(play.questions)], found.look(), len(play.questions), found.error, ended)


def going() -> bool:
    """Whether anything is on its way."""
    return playback.going(playground_state.slots())


def stop() -> None:
    """Break all answers off; what was written stays."""
    for slot in playground_state.slots():
        if found := playback.playing(slot):
            found.drop()


def missing(play: Play) -> int:
    """Answers that nobody has given yet."""
    return sum(not answer.stands for model in play.models for answer in answers(model, play))


def still(play: Play, cast: Cast) -> None:
    """Drawn once, in a container as a fragment has one: so the browser keeps its elements when the clock starts or stops."""
    with st.container():
        drawn(play, cast)


@st.fragment(run_every=TICK)
def ticking(play: Play, cast: Cast) -> None:
    """Drawn again and again while answers are on their way; at the end the page runs once more, which stops the clock."""
    on_their_way = going()
    drawn(play, cast)
    if not on_their_way:
        st.rerun()


def drawn(play: Play, cast: Cast) -> None:
    """A block per question: its text, then the models' answers."""
    everyone = {model: (cast.who(model), answers(model, play)) for model in play.models}
    newest = len(play.questions) - 1
    for turn in range(newest, -1, -1):
        st.text(f"{turn + 1}. {play.questions[turn]}" if newest else play.questions[turn])
        columns = [column(who, replies[turn], play, cast, turn) for who, replies in everyone.values()]
        playground_cards.show(columns, f"{KEY}-turn-{turn}", lambda model, token, turn=turn: _choose(Chosen(model, turn, token)))
    if newest < 0 and play.models:
        columns = [column(who, Answer(state="quiet"), play, cast, -1) for who, _ in everyone.values()]
        playground_cards.show(columns, f"{KEY}-turn-0", lambda model, token: None)


def column(who: Who, answer: Answer, play: Play, cast: Cast, turn: int) -> Column:
    """A model's answer as it is shown; under the newest one stands who the model is."""
    chosen: Chosen | None = st.session_state.get(f"{KEY}.token")
    token = chosen.token if chosen and (chosen.model, chosen.turn) == (who.name, turn) else None
    spans = answer_tokens.spans(answer.tokens, answer.text) if answer.state in playground.ENDED else []
    words = _words(answer, who.name)
    found = Column(who.name, who.label, who.role, who.colour, answer.text, answer.state, words, tuple(spans), token)
    if turn < len(play.questions) - 1:
        return found
    system = playground.system_message(play, who.name, cast.own)
    parts = tuple(Part(name, weight, cast.hue(name)) for name, weight in who.weights.items())
    return replace(found, about=who.said, parts=parts, system=f"System: {system}" if system else "No system prompt")


def _words(answer: Answer, model: str) -> str:
    """How it ended and how fast it was, or why there is none."""
    if answer.state == "error":
        return answer.said
    if answer.state in ("waits", "writes", "quiet"):
        slot = playground_state.slot(model)
        return {"writes": "writes", "quiet": ""}.get(answer.state, "waits" if playback.going((slot,)) else "not asked yet")
    ends = {"length": "cut: as long as was allowed", "stopped": "broken off"}
    words = [ends[answer.state]] if answer.state in ends else []
    if answer.seconds is not None and answer.first is not None:
        speed = answer.count / max(answer.seconds, 1e-6)
        rate = ", from memory" if speed > RECALLED else f", {three(speed)} a second" if answer.count else ""
        words += [f"first words after {three(answer.first)} s", f"{count(answer.count, 'token')}{rate}"]
    return "; ".join(words)


def _choose(chosen: Chosen) -> None:
    st.session_state[f"{KEY}.token"] = chosen
    st.session_state[f"{KEY}.why"] = True
