"""Judge: who is closer in meaning to the reference, how sure, what speaks against the judge, and every verdict."""

import pandas as pd
import streamlit as st

from core import charts, exports, findings, queries, results
from core.wording import count, plain
from pages import cards, form, parts

FIELDS = ["answers", "candidate", "backend", "judge_model", "base_url", "limit"]
VERDICTS = ["all", "fine-tuned", "base", "tie", "failed", "unparsed"]


def audit(table: pd.DataFrame) -> None:
    """What the judge's verdicts say about the judge."""
    st.markdown("**Audit**")
    for label, figure, detail in findings.audit(table):
        st.markdown(f"{label}: **{plain(figure)}**  \n:small[:gray[{plain(detail)}]]")


def browser(table: pd.DataFrame) -> None:
    """Every verdict with filters, and one in full."""
    st.subheader("Verdicts", anchor=False)
    row = st.columns(4, vertical_alignment="bottom")
    category = row[0].selectbox("Category", ["all", *dict.fromkeys(table["category"])], key="category", bind="query-params")
    verdict = row[1].selectbox("Verdict", VERDICTS, key="verdict", bind="query-params")
    orders = row[2].selectbox("Orders", ["all", "agree", "disagree"], key="orders", bind="query-params")
    text = row[3].text_input("Contains", key="contains", bind="query-params", placeholder="text in question or answer")
    shown = filtered(table, category or "all", verdict or "all", orders or "all", text or "")
    st.caption(f"{count(len(shown), 'verdict')}. Choose a row.")
    if shown.empty:
        return
    columns = ["verdict", "category", "question", "first_verdict", "second_verdict", "reference", "base_prediction", "candidate_prediction"]
    event = st.dataframe(
        shown[columns],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height=280,
        key="verdicts",
        alt="Verdicts",
        column_config={"first_verdict": "base shown first", "second_verdict": "candidate shown first"},
    )
    chosen = event["selection"]["rows"]
    detail(shown.iloc[chosen[0] if chosen and chosen[0] < len(shown) else 0])


def filtered(table: pd.DataFrame, category: str, verdict: str, orders: str, text: str) -> pd.DataFrame:
    """Verdicts that pass every filter."""
    keep = pd.Series(True, index=table.index)
    if category != "all":
        keep &= table["category"] == category
    if verdict != "all":
        keep &= table["verdict"] == verdict
    if orders != "all":
        keep &= (table["first_verdict"] == table["second_verdict"]) == (orders == "agree")
    if text:
        columns = table[["question", "reference", "base_prediction", "candidate_prediction"]]
        keep &= columns.apply(lambda column: column.str.contains(text, case=False, regex=False)).any(axis=1)
    return table[keep]


def detail(verdict: pd.Series) -> None:
    """One verdict: the question, three texts with shared words marked, both replies."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(
            {"fine-tuned": "win", "base": "loss"}.get(verdict["verdict"], verdict["verdict"]),
            color={"fine-tuned": "green", "base": "orange"}.get(verdict["verdict"], "gray"),
        )
        st.text(verdict["question"])
    if verdict["reason"]:
        st.caption(f"Why there is no verdict: {plain(verdict['reason'])}")
    mark = st.toggle("Mark words shared with the reference", value=True, key="mark_verdict", bind="query-params")
    cards.texts(
        verdict["reference"], verdict["base_prediction"], verdict["candidate_prediction"], verdict["candidate"], key="verdict", mark=mark
    )
    with st.expander("Replies of the judge"):
        st.caption(f"{plain(verdict['judge'])}, prompt {plain(verdict['prompt'])}, {verdict['seconds']:.2f} s")
        for title, field in (("Base shown first", "first"), ("Candidate shown first", "second")):
            st.caption(title)
            st.text(verdict[f"{field}_reply"] or "(no reply)")


parts.enter()
judged = queries.runs_with("judge", "verdicts.csv")
if judged:
    title = st.container()
    run = parts.pick_run(judged, "judge_run")
    verdicts = parts.table(run, "verdicts.csv", results.Verdict)
    rates = queries.win_rates(verdicts)
    sentence = findings.verdicts(rates, verdicts)
    with title:
        parts.head("Judge", sentence)
    parts.watch("judge")
    left, right = st.columns([3, 1])
    with left:
        st.plotly_chart(charts.outcomes(rates), alt=sentence, config={"displayModeBar": False})
        st.caption("Whiskers: 95 % Wilson interval of the share of wins. Verdicts that failed are left out and counted beside.")
    with right, st.container(border=True):
        audit(verdicts)
    browser(verdicts)
    with st.container(horizontal=True):
        parts.download("verdicts.csv", verdicts)
        parts.download(exports.JUDGMENTS, exports.judgments(verdicts))
else:
    parts.empty(
        "Judge",
        "Wins, ties and losses of the fine-tuned models against the base, with intervals, and every verdict to read.",
        "A judge reads for meaning where word overlap can't; it is asked in both orders, since the order alone can turn it.",
        "Evaluate first" if not queries.runs_with("evaluate", "answers.csv") else "See the evaluation",
        "evaluate",
    )
    parts.watch("judge")

st.subheader("Judge answers", anchor=False)
known = ["last", *(run.run_id for run in queries.runs_with("evaluate", "answers.csv"))]
form.form("judge", "Judge", FIELDS, {"answers": known})
