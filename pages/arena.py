"""Arena: two answers to one question, names hidden; people say which is better. No model's name may reach the browser from here."""

from collections.abc import Callable

import streamlit as st

from core import queries, read_only, runs
from core.config import ArenaConfig
from core.errors import UserError
from core.judge import arena
from core.judge.arena import Standing
from core.runs import Run
from core.wording import count, day, plain
from pages import arena_sheet, form, frame, parts


def said(run: Run) -> str:
    """A round in one line: when, and how many questions."""
    return f"{day(run.created_at)} · {count(run.outputs['questions'], 'question')}"


def finding(run: Run) -> str:
    """What is asked here."""
    number = count(run.outputs["questions"], "question")
    return f"Two answers to each of {number}, and nothing says who wrote which: you say which is better."


def so_far(round_id: str) -> str:
    """How many have voted; no word on who leads, which would sway the votes to come."""
    votes = arena.votes()
    here = votes[votes["round"] == round_id]
    people = count(here["reviewer"].nunique(), "person has", "people have")
    told = f"{people} given {count(len(here), 'vote')} so far" if len(here) else "No vote has been given yet"
    return f"{told}; skipped pairs don't count. Who leads is told when you end the round, after its last pair."


def reviewer() -> str:
    """Who votes: from the address, or asked for; the address keeps it, so that a link brings the reviewer back."""
    name = arena.named(st.query_params.get("reviewer", ""))
    if not name:
        st.text_input(
            "Your name",
            key="arena.name",
            max_chars=60,
            on_change=_enter,
            placeholder="as it shall stand beside your votes",
            help="Your votes are kept under this name. Under the same name you go on where you stopped.",
        )
        return ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"You vote as **{plain(name)}**.", width="content")
        st.button("Change name", type="tertiary", on_click=st.query_params.pop, args=("reviewer",))
    return name


def _enter() -> None:
    if name := arena.named(st.session_state["arena.name"]):
        st.query_params["reviewer"] = name


@st.fragment
def ask(round_id: str, name: str) -> None:
    """The next pair with its buttons, or thanks after the last; and the undoing of the last vote."""

    def voted(pair: str, choice: str, seconds: float, reason: str) -> None:
        _try(arena.vote, round_id, name, pair, choice, seconds, reason)

    if fault := st.session_state.pop("arena.fault", ""):
        st.error(plain(fault))
    sheet, standing = arena.next_pair(round_id, name), arena.standing(round_id, name)
    if sheet:
        arena_sheet.show(sheet, standing, voted)
    else:
        thanks(name, standing)
    if standing.last:
        st.button(
            "Undo the last vote",
            key=f"undo-{standing.last}",
            icon=":material/undo:",
            type="tertiary",
            on_click=_try,
            args=(arena.undo, round_id, name, standing.last),
        )
    if sheet:
        st.caption(so_far(round_id))


def _try(act: Callable[..., object], *args: object) -> None:
    """Do it before the page runs again; what the person can mend is shown then."""
    try:
        act(*args)
    except UserError as error:
        st.session_state["arena.fault"] = str(error)


def thanks(name: str, standing: Standing) -> None:
    """After the last pair."""
    skipped = f", {standing.skipped} of them skipped" if standing.skipped else ""
    st.success(f"Thank you, {plain(name)}. You have seen all {count(standing.total, 'pair')}{skipped}.", icon=":material/check:")
    st.page_link("pages/judge.py", label="See what people and judges said, with names", icon=":material/arrow_forward:")


def opening() -> None:
    """A round that is being made, and word of one that could not be: its reason may hold names, so it stands elsewhere."""
    newest = runs.listing("arena")[:1]
    failed = bool(newest) and newest[0].status == "failed"
    parts.watch("arena", shown=newest[0] if failed else None)
    if failed:
        st.warning("The last round could not be opened.", icon=":material/error:")
        st.page_link("pages/jobs.py", label="See why", icon=":material/arrow_forward:", query_params={"job": newest[0].run_id})


def more() -> None:
    """Another round."""
    if read_only.active():
        return
    with st.expander("Open another round"):
        st.caption("On the newest evaluation, the own adapters against the unadapted model. The Judge page opens one about other models.")
        form.begin({"arena": "Open a round"}, ArenaConfig(), estimated=True)


frame.enter()
rounds = arena.rounds()
if rounds:
    head = st.container()
    shown = parts.pick_run(rounds, "round", said)
    st.query_params["round"] = shown.run_id
    with head:
        parts.head("Arena", finding(shown))
    opening()
    if who := reviewer():
        ask(shown.run_id, who)
    else:
        st.caption(
            f"{count(shown.outputs['questions'], 'question')} wait. Buttons or keys: 1 for left, 2 for right, 0 for a tie, s to skip."
        )
        st.caption(so_far(shown.run_id))
    more()
else:
    evaluated = queries.runs_with("evaluate", "answers.csv")
    pressed = parts.empty(
        "Arena",
        "Two answers to one question, names hidden and sides by chance: people say which is better, and how far they agree with the judge.",
        "A judge that people contradict is no evidence.",
        "Open a round" if evaluated else "Evaluate models first",
        None if evaluated else "evaluate",
    )
    if pressed:
        parts.submit("arena", ArenaConfig())
    opening()
