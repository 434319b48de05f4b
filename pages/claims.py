"""Claims: what others publish about tuning and merging, beside the same question asked of one's own runs."""

import pandas as pd
import streamlit as st

from core import findings, queries, results
from core.wording import plain
from pages import form, frame, parts

FIELDS = ["evaluation", "judges"]
COLOURS = {"holds": "green", "does not hold": "orange", "cannot be said": "gray"}


def ledger(table: pd.DataFrame) -> None:
    """One row a claim: theirs, ours with its interval, the verdict, and how it was measured."""
    for claim in table.itertuples():
        with st.container(border=True):
            said, theirs, ours = st.columns([5, 3, 3])
            with said:
                st.badge(claim.holds, color=COLOURS[claim.holds])
                st.markdown(f"**{plain(claim.statement)}**")
            with theirs:
                st.caption("Theirs")
                st.text(claim.theirs)
            with ours:
                st.caption("Ours")
                value, interval = findings.our_figure(claim)
                st.text(value)
                if interval:
                    st.caption(interval)
            st.caption(plain(claim.how))


frame.enter()
ledgers = queries.runs_with("claims", "claims.csv")
if ledgers:
    title = st.container()
    run = parts.pick_run(ledgers, "claims_run")
    claims = parts.table(run, "claims.csv", results.Claim)
    with title:
        parts.head("Claims", findings.claims(claims))
    parts.watch("claims", shown=(failed := parts.failed("claims")))
    ledger(claims)
    parts.failed_line(failed)
    st.caption(plain(f"Claims of {claims['source'].iloc[0]}. Ours: evaluation {run.outputs['evaluation']} and the judge runs on it."))
    parts.download("claims.csv", claims)
else:
    parts.empty(
        "Claims",
        "Figures that others publish about tuning, merging and judging, each beside the same question asked of your own runs.",
        "A figure from another dataset, model and judge says little about yours; here each claim holds, does not hold, or cannot be said.",
        "Evaluate first" if not queries.runs_with("evaluate", "answers.csv") else "See the evaluation",
        "evaluate",
    )
    parts.watch("claims")

parts.doing("Hold the claims against your runs")
known = ["last", *(run.run_id for run in queries.runs_with("evaluate", "answers.csv"))]
judged = [run.run_id for run in queries.runs_with("judge", "verdicts.csv")]
form.form("claims", "Check the claims", FIELDS, {"evaluation": known, "judges": judged})
