"""Claims: what others publish about tuning and merging, beside the same question asked of one's own runs."""

from typing import Any

import pandas as pd
import streamlit as st

from core import findings, queries, results
from core.wording import plain, three
from pages import form, parts

FIELDS = ["evaluation", "judges"]
SHARE = "share of "
"""How a unit begins whose figures lie between 0 and 1."""
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
                value, interval = ours_in_words(claim)
                st.text(value)
                if interval:
                    st.caption(interval)
            st.caption(plain(claim.how))


def ours_in_words(claim: Any) -> tuple[str, str]:
    """Our figure in its unit, and its interval with n, empty where there is none; a share as per cent, as theirs are told."""
    if pd.isna(claim.value):
        return three(None), ""
    if not str(claim.unit).startswith(SHARE):
        spread = "" if pd.isna(claim.low) else f"{findings.interval(claim.low, claim.high)}, n {int(claim.n):,}"
        return f"{three(claim.value)} {claim.unit}", spread
    value, low, high = (f"{100 * share:.1f}" for share in (claim.value, claim.low, claim.high))
    spread = "" if pd.isna(claim.low) else f"95 % interval {low} to {high} %, n {int(claim.n):,}"
    return f"{value} % of {str(claim.unit).removeprefix(SHARE)}", spread


parts.enter()
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

st.subheader("Hold the claims against your runs", anchor=False)
known = ["last", *(run.run_id for run in queries.runs_with("evaluate", "answers.csv"))]
judged = [run.run_id for run in queries.runs_with("judge", "verdicts.csv")]
form.form("claims", "Check the claims", FIELDS, {"evaluation": known, "judges": judged})
