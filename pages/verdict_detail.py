"""One verdict in full: three texts with their differences, figures of the pair, both replies, and buttons to say otherwise."""

import pandas as pd
import streamlit as st

from core import pair_metrics, read_only, verdict_findings
from core.errors import UserError
from core.runs import Run
from core.verdict_table import VerdictTable
from core.wording import listed, plain, signed, three
from pages import cards, verdict_tables

WORDS = ("shared words", "differences", "plain")
COLOURS = {"win": "green", "loss": "orange"}
SHORT = {"base": "base", "tie": "tie", "fine-tuned": "candidate"}
VOTES = {"base": "Base is better", "tie": "Tie", "fine-tuned": "Candidate is better"}


def show(run: Run, table: VerdictTable, place: int) -> None:
    """The verdict in row `place` of the table."""
    verdict = table.row(place)
    word = verdict_findings.outcome(verdict["verdict"])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(word, color=COLOURS.get(word, "gray"))  # type: ignore[arg-type]
        st.text(verdict["question"])
    st.caption(plain(f"{verdict['category']} · {verdict['candidate']} against {verdict['base']} · {verdict['judge']}"))
    if verdict["reason"]:
        st.caption(f"Why there is no verdict: {plain(verdict['reason'])}")
    how = WORDS[2]
    if verdict["reference"].strip():
        how = st.segmented_control("Words", WORDS, default=WORDS[0], key="words", bind="query-params", required=True) or WORDS[0]
    texts(verdict, how, key="verdict")
    if how == WORDS[1]:
        st.caption("Underlined: words that the reference has not. Struck out: words of the reference that the answer has not.")
    left, right = st.columns(2)
    with left:
        metrics(run, verdict, table.flags_of(place))
    with right:
        vote(verdict)
    replies(verdict)


def texts(verdict: pd.Series, how: str, key: str) -> None:
    """Reference and both answers; `how`: one of WORDS. Without a reference the answers alone."""
    base_name = "Base" if verdict["base"] == "base" else verdict["base"]
    if not verdict["reference"].strip():
        answers = ((base_name, verdict["base_prediction"]), (verdict["candidate"], verdict["candidate_prediction"]))
        for column, (title, text) in zip(st.columns(2), answers, strict=True):
            with column, st.container(border=True, height="stretch"):
                st.caption(plain(title))
                st.text(text or "(empty answer)")
        return
    cards.texts(
        *(verdict[name] for name in ("reference", "base_prediction", "candidate_prediction")),
        verdict["candidate"],
        key=key,
        mark=how == WORDS[0],
        diff=how == WORDS[1],
        base_name=base_name,
    )


def metrics(run: Run, verdict: pd.Series, flags: list[str]) -> None:
    """Figures of both answers, how they differ, and the flags of either."""
    sides = ("base", "candidate")
    losses = verdict_tables.losses(run, *(verdict[name] for name in (*sides, "category", "question", "reference")))
    f1 = {side: verdict[f"{side}_f1"] for side in sides}
    figures = pair_metrics.figures(
        verdict["reference"], {side: verdict[f"{side}_prediction"] for side in sides}, f1, losses if len(losses) == 2 else {}
    )
    shown = figures.map(three).assign(difference=[signed(value) for value in figures["candidate"] - figures["base"]])
    st.dataframe(shown, key="pair_metrics", alt="Figures of both answers")
    if flags:
        st.caption(plain(f"Flags of either answer: {listed(flags)}."))


def vote(verdict: pd.Series) -> None:
    """What people said of this pair, and buttons to say it oneself. Names are open here: such votes are counted apart from the arena's."""
    said = verdict_tables.votes()
    mine = said[said["pair"] == verdict["pair"]]
    told = [f"{row.reviewer}: {SHORT[row.verdict]}{'' if row.blind else ' (not blind)'}" for row in mine.itertuples()]
    st.caption(plain(f"People: {listed(told)}." if told else "No person has said anything of this pair."))
    if read_only.active():
        return
    left, right = st.columns(2)
    name = left.text_input("Your name", key="reviewer", bind="query-params", placeholder="needed to vote")
    reason = right.text_input("Reason", key="vote_reason", placeholder="optional")
    with st.container(horizontal=True):
        for word, label in VOTES.items():
            st.button(label, key=f"vote-{word}", disabled=not name, on_click=cast, args=(dict(verdict), name, word, reason))


def cast(verdict: dict[str, object], reviewer: str, word: str, reason: str) -> None:
    """Keep a vote."""
    from core.judge import arena

    try:
        arena.vote_openly(verdict, reviewer, word, reason or "")
    except UserError as error:
        st.toast(plain(str(error)))
        return
    st.toast("Your vote is kept.")
    st.session_state["vote_reason"] = ""


def replies(verdict: pd.Series) -> None:
    """What the judge said in both orders, word for word."""
    with st.expander("Replies of the judge", expanded=bool(verdict["rationale"])):
        spent = [f"{verdict['seconds']:.2f} s"]
        if pd.notna(verdict["tokens"]):
            spent.append(f"{verdict['tokens']:,.0f} tokens")
        if pd.notna(verdict["cost"]):
            spent.append(f"cost {three(verdict['cost'])}")
        repeat = f", repeat {verdict['repeat'] + 1}" if verdict["repeat"] else ""
        st.caption(plain(f"{verdict['judge']}, prompt {verdict['prompt'] or 'none'}{repeat}; {', '.join(spent)}; pair {verdict['pair']}"))
        shown = (("Base shown first", "first"), ("Candidate shown first", "second"))
        for column, (title, order) in zip(st.columns(2), shown, strict=True):
            with column:
                st.caption(plain(f"{title}: {verdict_findings.outcome(verdict[f'{order}_verdict']) or 'not asked'}"))
                st.text(verdict[f"{order}_reply"] or "(no reply)")
