"""Data: what a dataset holds, how it is split, and what would go wrong in training."""

import pandas as pd
import streamlit as st

from core import charts, findings, private, queries, results
from core.config import DataConfig
from core.findings import three_or_all
from core.results import ALL
from core.wording import count, percent
from pages import form, frame, parts, upload

MOST = 20
MOST_LEAKS = 1000
"""Sent to the browser."""
TABLE = {
    "rows": "rows",
    "train rows": "train",
    "validation rows": "validation",
    "test rows": "test",
    "tokens_mean": "tokens, mean",
    "tokens_p95": "tokens, 95 %",
    "tokens_max": "tokens, most",
    "share_cut": "cut",
    "duplicates": "duplicates",
    "leaks": "leaks",
    "unsupervised": "without answer tokens",
}
FIELDS = ["data", "question_column", "answer_column", "category_column", "base_model", "max_seq_length"]


def picture(report: pd.DataFrame, finding: str) -> None:
    """Rows per category and split, of the largest categories."""
    rows = report[(report["figure"] == "rows") & (report["category"] != ALL) & (report["split"] != "")]
    largest = rows.groupby("category", sort=False)["value"].sum().sort_values(ascending=False, kind="stable").index[:MOST]
    st.plotly_chart(charts.rows_by_category(rows[rows["category"].isin(largest)]), alt=finding, config={"displayModeBar": False})
    if rows["category"].nunique() > MOST:
        st.caption(f"The {MOST} largest of {rows['category'].nunique():,} categories; all are in the table.")


def figures(report: pd.DataFrame) -> None:
    """A row per category: rows by split, tokens, and what would go wrong."""
    chosen = st.multiselect(
        "Categories", list(dict.fromkeys(report["category"])), key="data_category", bind="query-params", placeholder="all"
    )
    shown = report[report["category"].isin(chosen)] if chosen else report
    named = shown["figure"].where((shown["figure"] != "rows") | (shown["split"] == ""), shown["split"] + " rows")
    kept = shown.assign(figure=named)[(shown["split"] == "") | (shown["figure"] == "rows")]
    columns = [name for name in TABLE if name in set(kept["figure"])]
    wide = kept.drop_duplicates(["category", "figure"]).pivot(index="category", columns="figure", values="value")[columns]
    wide = wide.loc[list(dict.fromkeys(kept["category"]))]
    words = wide.apply(lambda column: column.map(percent if column.name == "share_cut" else three_or_all))
    st.dataframe(words.rename(columns=TABLE), alt="Rows, tokens and doubtful rows of each category")
    parts.download("report.csv", shown, "Download the report as CSV")
    reasons = shown[shown["reason"] != ""].drop_duplicates(["category", "split", "reason"])
    if len(reasons):
        with st.expander("Rows dropped, and figures that are missing, with the reason"):
            st.dataframe(reasons[["category", "split", "figure", "value", "reason"]], hide_index=True, alt="Reasons")


def leaks(table: pd.DataFrame) -> None:
    """Held-out rows that nearly repeat a row of an earlier split."""
    if len(table):
        with st.expander(f"{count(len(table), 'leak')} between splits"):
            st.dataframe(table.head(MOST_LEAKS), hide_index=True, alt="Leaks between splits")
            if len(table) > MOST_LEAKS:
                st.caption(f"The first {MOST_LEAKS:,}; all are in leaks.csv, in the folder of this run.")


frame.enter()
reports = queries.runs_with("data", "report.csv")
if reports:
    title = st.container()
    run = parts.pick_run(reports, "data_run")
    table = parts.table(run, "report.csv", results.DataRow)
    sentence = findings.dataset(table, run.outputs)
    with title:
        parts.head("Data", f"{private.shown(str(run.config.get('data', 'Dataset')))}: {sentence}")
    parts.watch("data")
    picture(table, sentence)
    figures(table)
    leaks(parts.table(run, "leaks.csv", results.Leak))
elif parts.empty(
    "Data",
    "Rows per category and split, token lengths, duplicates, leaks between splits, and answers that would be cut.",
    "What is wrong with the data is cheapest to find before anything trains.",
    "Report on the seven schools",
):
    parts.submit("data", DataConfig())
else:
    parts.watch("data")

parts.doing("Report on a dataset")
upload.show("data.data")
form.form("data", "Report on this dataset", FIELDS, {"data": form.datasets()})
