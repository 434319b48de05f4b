"""Closer looks at a judged run: slices, best and worst cases, themes of the reasons, people beside the judge, another run."""

import pandas as pd
import streamlit as st

from core import verdict_charts, verdict_findings
from core.judge.measures import JUDGED
from core.runs import Run
from core.verdict_table import ANY
from core.wording import count, listed, percent, plain, signed
from pages import audit_card, parts, verdict_detail, verdict_tables

BY = ("category", "candidate", "judge", "length", "flag", "theme", "prompt", "repeat")
PEOPLE_AT_ONCE = 7


def slices(run: Run) -> None:
    """The win rate in each slice beside the whole."""
    table = verdict_tables.opened(run)
    left, right = st.columns(2, vertical_alignment="bottom")
    by = left.selectbox("Slice by", BY, key="slice", bind="query-params") or BY[0]
    judge = right.selectbox("Judge", [ANY, *table.values["judge"]], key="judge", bind="query-params") or ANY
    if shut := red(run, judge):
        st.warning(plain(shut), icon=":material/block:")
        return
    found, whole = verdict_tables.sliced(run, by, judge)
    if found.empty:
        st.caption(f"No verdict has a {by}.")
        return
    unlike = [str(row.slice) for row in found.itertuples() if row.n and (row.low > whole or row.high < whole)]
    told = f"Unlike the whole ({percent(whole)}): {listed(unlike)}." if unlike else f"No slice is seen to differ from {percent(whole)}."
    st.markdown(plain(told))
    st.plotly_chart(verdict_charts.slices(found, whole), alt=told, config={"displayModeBar": False})
    st.caption("Dotted line: the whole. Grey: no difference from it seen. Many slices are looked at: one in twenty is unlike by chance.")
    rounded = found.assign(**{name: [percent(value) for value in found[name]] for name in ("win_rate", "low", "high")})
    st.dataframe(rounded.rename(columns={"slice": by}), hide_index=True, key="slices", alt=f"Win rate by {by}")
    parts.download(f"slices_by_{by}.csv", found)


def red(run: Run, judge: str) -> str:
    """Why the figures of this judge, or of all together, are not told; empty where they are."""
    found = verdict_tables.judged(run)
    asked = found.values() if judge == ANY else [found[judge]]
    return " ".join(verdict_findings.withheld(each) for each in asked if each.withheld)


def cases(run: Run) -> None:
    """Best and worst by rule, to read."""
    table = verdict_tables.opened(run)
    if not table.has_references:
        st.caption("These verdicts have no references, so there is no score to choose the best and the worst by.")
        return
    best, worst = table.extremes()
    st.caption(
        "Chosen by rule: won (lost) in both orders, with the largest (smallest) difference in F1 of the words shared with the reference."
    )
    for name, found in (("Best", best), ("Worst", worst)):
        for rank, (place, row) in enumerate(found.iterrows(), 1):
            st.markdown(
                f"**{name} {rank}** ({plain(signed(row['score_difference']))} F1) · {plain(row['category'])} · {plain(row['question'])}"
            )
            verdict_detail.texts(row, "shared words", key=f"case-{name}-{rank}")
            st.button("All of it", key=f"open-{name}-{rank}", on_click=look, kwargs={"open": str(place)}, type="tertiary")
    if not len(best) + len(worst):
        st.caption("No verdict was the same for one side in both orders.")


def look(**query: str) -> None:
    """Go to the verdict browser with these filters, the others off."""
    for name in ("category", "verdict", "judge", "candidate", "orders", "length", "flag", "people", "theme"):
        st.session_state[name] = query.get(name, ANY)
    st.session_state.update({"look": "verdicts", "contains": "", "page": 1, "score": (-1.0, 1.0)})
    if "open" in query:
        st.query_params["open"] = query["open"]


def themes(run: Run) -> None:
    """What the judge's reasons speak of, and how often the candidate won where they do."""
    table = verdict_tables.opened(run)
    if not table.themes:
        st.caption("This run has no themes: its judge gave no reasons. The prompt 'rubric' asks for them.")
        return
    st.caption("Reasons that speak of the same, grouped by their embeddings and named by their most typical words.")
    found, _ = verdict_tables.sliced(run, "theme", ANY)
    shut = red(run, ANY)
    for place, row in enumerate(found.itertuples()):
        with st.container(horizontal=True, vertical_alignment="center"):
            share = f"won {percent(row.win_rate)} ({percent(row.low)} to {percent(row.high)})" if row.n and not shut else "read them"
            st.markdown(f"**{plain(str(row.slice))}**: {count(row.n, 'verdict')}, {plain(share)}")
            st.button("Read them", key=f"theme-{place}", on_click=look, kwargs={"theme": str(row.slice)}, type="tertiary")


def people(run: Run) -> None:
    """The judge's and people's verdicts beside each other."""
    table, votes = verdict_tables.opened(run), verdict_tables.votes()
    voted = table.voted(verdict_tables.people())
    mine = votes[votes["pair"].isin(voted["pair"])]
    if mine.empty:
        st.caption("No person has said anything of these pairs. Vote on a verdict, or open a round of the arena, where names are hidden.")
        ask_people(run)
        return
    names = list(dict.fromkeys(mine["reviewer"]))
    blind = int(mine["blind"].sum())
    st.markdown(plain(f"{count(len(mine), 'vote')} by {listed(names, PEOPLE_AT_ONCE)}; {blind:,} with names hidden."))
    for judge, figures in verdict_tables.beside_people(run).groupby("judge", sort=False):
        st.markdown(f"**{plain(verdict_findings.named(str(judge)))}**")
        audit_card.lines(figures)
    st.caption("Rows: the judge's verdict. Columns: what most people said of the same pair.")
    st.dataframe(crossed(voted), key="crossed", alt="The judge's verdicts beside people's")
    with st.container(horizontal=True):
        st.button("Read where they disagree", on_click=look, kwargs={"people": "disagree"}, key="read-disagreements")
        parts.download("votes.csv", mine)
    ask_people(run)


def crossed(voted: pd.DataFrame) -> pd.DataFrame:
    """How often the judge said one word and people another. `voted`: the verdicts on pairs that people said something of."""
    said = voted["pair"].map(verdict_tables.people())
    crossing = pd.crosstab(voted["verdict"].astype(str), said.astype(object).rename("people"))
    order = list(JUDGED)
    said = verdict_findings.outcome
    return crossing.reindex(index=order, columns=order, fill_value=0).rename(index=said, columns=said)


def ask_people(run: Run) -> None:
    """A round of the arena on the answers that were judged."""
    from core.config import ArenaConfig

    answers = run.config.get("answers")
    if not run.outputs.get("answers") or answers is None:
        return
    if parts.action("Ask people", key="ask-people", icon=":material/how_to_vote:", help="Opens a round of the arena on the same answers."):
        config = ArenaConfig(answers=run.outputs["answers"], base=run.outputs["base"], candidate=run.outputs["candidate"])
        parts.submit("arena", config)


def against(run: Run) -> None:
    """The same questions in another run, by McNemar's test."""
    others = {other.run_id: other for other in verdict_tables.runs() if other.run_id != run.run_id}
    if not others:
        st.caption("There is no other run with verdicts to compare with.")
        return
    titles = {name: verdict_tables.title(other) for name, other in others.items()}
    chosen = st.selectbox("Other run", list(others), format_func=titles.__getitem__, key="other", bind="query-params")
    other = others[chosen or next(iter(others))]
    if shut := " ".join(filter(None, (red(each, ANY) for each in (run, other)))):
        st.warning(plain(shut), icon=":material/block:")
        return
    audit_card.lines(verdict_tables.compared(run, other))
    st.caption("Success: the candidate won. A small p says that the two runs' shares differ by more than chance would make them.")
