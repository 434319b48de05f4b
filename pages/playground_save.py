"""Saving a question with an answer, or with one's own words, to a dataset that evaluations can ask."""

from collections.abc import Sequence

import streamlit as st

from core import read_only, saved_questions
from core.errors import UserError
from core.playground import Play
from core.who_answers import Cast
from core.wording import count, plain
from pages import parts, playground_columns
from pages.playground_state import KEY

TYPED = "my own words"
ONE = "general"
"""Category where none is chosen."""


def show(play: Play, cast: Cast, categories: Sequence[str]) -> None:
    """Question, reference, category, and the button; then what was saved so far."""
    if read_only.active():
        return
    with st.popover("Save", icon=":material/bookmark_add:", disabled=not play.questions):
        st.caption("A question with the answer that you think right, as a row of your own evaluation set.")
        turns = list(reversed(range(len(play.questions))))
        if turns:
            turn = st.selectbox("Question", turns, format_func=lambda each: play.questions[each], key=f"{KEY}.save.turn")
            _form(play, cast, turn if turn is not None else turns[0], categories)
        _saved()


def _form(play: Play, cast: Cast, turn: int, categories: Sequence[str]) -> None:
    found = {model: playground_columns.answers(model, play)[turn].text for model in play.models}
    given = {cast.who(model).label: (model, text) for model, text in found.items() if text}
    whose = st.selectbox("Reference", [TYPED, *given], key=f"{KEY}.save.whose", help="It can be changed below.") or TYPED
    model, text = given.get(whose, ("", ""))
    reference = st.text_area("Its text", text, height=120, key=f"{KEY}.save.text.{turn}.{model}.{hash(text)}")
    if model:
        st.caption("A model that is scored on words of its own looks better than it is: correct them, or write your own.")
    if turn:
        st.caption("It is saved without the questions before it.")
    usual = play.category or ONE
    known = list(dict.fromkeys([usual, *categories, ONE]))
    category = st.selectbox("Category", known, key=f"{KEY}.save.category.{usual}", accept_new_options=True) or usual
    if not st.button("Save to the evaluation set", key=f"{KEY}.save", type="primary"):
        return
    try:
        saved_questions.save(play.questions[turn], reference or "", category, model if reference == text else "")
    except UserError as error:
        st.error(plain(str(error)))
    else:
        st.success("Saved.")


def _saved() -> None:
    """How many there are, and how they are asked."""
    rows = saved_questions.rows()
    if not rows:
        return
    st.caption(f"{count(len(rows), 'question')} saved. Choose the file as data on Evaluate, or in a terminal:")
    st.code(f"python -m core evaluate --data {saved_questions.file()} --split all", language="bash", wrap_lines=True)
    parts.download_file(saved_questions.file(), "Download them")
