"""The verdict browser: filters whose state is the URL, a page of rows, and one verdict in full."""

from functools import partial

import pandas as pd
import streamlit as st

from core import judging, verdict_findings
from core.runs import Run
from core.verdict_table import ANY, ORDERS, PEOPLE, SORTS, TEXTS, Filters, Found, VerdictTable
from core.wording import count
from pages import link, paging, verdict_detail, verdict_tables
from pages.paging import back_to_first, choice, contains, cut, turned

VERDICTS = {
    ANY: ANY,
    **{verdict_findings.outcome(word): word for word in ("fine-tuned", "base", "tie", "failed", "unparsed", "not asked")},
}
"""What a verdict is called here -> its word in verdicts.csv."""
COLUMNS = {
    "verdict": "verdict",
    "category": "category",
    "question": "question",
    "first_verdict": "base shown first",
    "second_verdict": "candidate shown first",
    "score_difference": "score difference",
    "candidate": "candidate",
    "judge": "judge",
    "reference": "reference",
    "base_prediction": "base's answer",
    "candidate_prediction": "candidate's answer",
}
FOLDED = {"candidate", "orders", "length", "people", "flag", "theme", "sort", "score"}
"""Filters that fold away unless the URL sets one."""
OUTCOMES = ("verdict", "first_verdict", "second_verdict")
REFERENCED = ["reference", "score_difference"]
"""Columns that say nothing where there are no references."""


def show(run: Run) -> None:
    """Filters, the page of rows that they leave, and the chosen row."""
    table = verdict_tables.opened(run)
    filters = chosen(table)
    found = table.where(filters, verdict_tables.people())
    measure = " Score difference: F1 of the words shared with the reference, candidate less base." if table.has_references else ""
    st.caption(f"{count(len(found), 'verdict')} of {len(table):,}. Choose a row. Win: the candidate's answer won.{measure}")
    if not len(found):
        return
    number = turned(found.pages)
    rows = table.page(found, number)
    place = picked(rows if table.has_references else rows.drop(columns=REFERENCED), found, f"{hash(filters)}-{number}")
    verdict_detail.show(run, table, place)
    if verdict_tables.too_large(run):
        content = partial(verdict_tables.found, table, found)
        st.download_button("found.csv", content, "found.csv", "text/csv", on_click="ignore", icon=":material/download:")


def chosen(table: VerdictTable) -> Filters:
    """The filters as they are set."""
    row = st.columns(4, vertical_alignment="bottom")
    first = {
        "category": choice(row[0], "Category", "category", (ANY, *table.values["category"])),
        "verdict": VERDICTS[choice(row[1], "Verdict", "verdict", VERDICTS)],
        "judge": choice(row[2], "Judge", "judge", (ANY, *table.values["judge"])),
    }
    text = contains(row[3])
    with st.expander("More filters", expanded=bool(FOLDED & set(st.query_params))):
        return Filters(**first, text=text, **more(table))


def more(table: VerdictTable) -> dict[str, str | float]:
    """The filters that are needed less often."""
    flags = (ANY, *(("any", *table.flags) if table.flags else ()))
    asked = {
        "candidate": ("Candidate", (ANY, *table.values["candidate"])),
        "orders": ("Orders", ORDERS),
        "length": ("Candidate's length beside the base's", (ANY, *judging.LENGTHS)),
        "people": ("People", PEOPLE),
        "flag": ("Flag of either answer", flags),
        "theme": ("Theme of the reasons", (ANY, *table.themes)),
        "sort": ("Order of rows", tuple(SORTS)),
    }
    if not table.has_references:
        del asked["sort"]
    columns = st.columns(4, vertical_alignment="bottom") + st.columns(4, vertical_alignment="bottom")
    found = {key: choice(column, label, key, options) for column, (key, (label, options)) in zip(columns, asked.items(), strict=False)}
    if not table.has_references:
        return dict(found)
    low, high = columns[-1].slider(
        "Score difference", -1.0, 1.0, (-1.0, 1.0), 0.05, key="score", bind="query-params", on_change=back_to_first
    )
    return {**found, "low": low, "high": high}


def picked(rows: pd.DataFrame, found: Found, key: str) -> int:
    """The page as a table; the number of the verdict to show in full: the row chosen, else the one in the URL, else the first."""
    shown = rows[[name for name in COLUMNS if name in rows]]
    said = {name: shown[name].astype(object).map(verdict_findings.outcome) for name in OUTCOMES}
    shown, ids = cut(shown, TEXTS).assign(**said).round({"score_difference": 2}), [str(place) for place in rows.index]
    looks = {"height": 280, "key": f"verdicts-{key}", "alt": "Verdicts"}
    return int(paging.picked(shown, "open", ids, link.numbered(found), COLUMNS, **looks))
