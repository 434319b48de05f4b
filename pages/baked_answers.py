"""Before and after: the pinned questions answered by the base, by the mix as the console played it, and by the merged adapter on disk."""

from dataclasses import replace

import streamlit as st

from core import charts, console
from core.console import Play, Shelf
from core.wording import count, plain
from pages import answer_cards, engine, merge_answers, merge_play, playback

SLOT = "answers.baked"
TICK = 0.4


@st.fragment(key="baked")
def show(name: str, shelf: Shelf, usual: Play) -> None:
    """Asked when the person wants it: it takes as long as the answers do."""
    wanted = st.toggle(
        "Before and after: let it answer the pinned questions",
        key=f"before-and-after.{name}",
        help="By the base, by the mix as the console plays it, and by the merged adapter from its folder.",
    )
    if not wanted:
        return
    play = replace(merge_play.current(usual), mix=console.of_baked(name))
    found = engine.find()
    if found is None:
        st.caption("The engine is not running. Start it above.")
        return
    rows: list[merge_answers.Asked] = [(f"{place}.base", question, None) for place, question in enumerate(play.questions)]
    rows += [(f"{place}.mix", question, play.mix) for place, question in enumerate(play.questions) if play.mix]
    rows += [(f"{place}.baked", question, console.alone(name)) for place, question in enumerate(play.questions)]
    if rows:
        merge_answers.stream(found, play, SLOT, rows)
        (_ticking if playback.going([SLOT]) else _cards)(name, play)
    else:
        st.caption("No question is pinned.")


@st.fragment(run_every=TICK)
def _ticking(name: str, play: Play) -> None:
    going = playback.going([SLOT])
    _cards(name, play)
    if not going:
        st.rerun()


def _cards(name: str, play: Play) -> None:
    for said in playback.troubles([SLOT]):
        st.warning(plain(said), icon=":material/error:")
    rows = merge_answers.fold(SLOT)
    titles = {"base": ("Before: base", "base"), "mix": ("The mix in the console", "merged"), "baked": (f"After: {name}", "merged")}
    for place, question in enumerate(play.questions):
        st.text(question.question)
        shown = [(role, rows[f"{place}.{role}"]) for role in titles if f"{place}.{role}" in rows]
        cards = [merge_answers.card(titles[role][0], role, charts.ROLE[titles[role][1]], row) for role, row in shown]
        answer_cards.show(cards, key=f"baked-{place}")
    if not playback.going([SLOT]) and play.mix:
        pairs = [(rows[f"{place}.mix"], rows[f"{place}.baked"]) for place in range(len(play.questions))]
        same = sum(mix.parts == baked.parts for mix, baked in pairs)
        said = f"The same to the letter in the console and from the folder: {same} of {count(len(pairs), 'answer')}."
        near = " Where two words are almost equally likely, rounding can part them." if same < len(pairs) else ""
        st.caption(said + near)
