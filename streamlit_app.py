"""Lyceum's app: navigation over pages/, the status line, and errors that are shown as they stand."""

from pathlib import Path

import streamlit as st

from core.errors import UserError
from pages import parts

PAGES = Path(__file__).parent / "pages"
SECTIONS = {
    "": [st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True)],
    "Build": [
        st.Page("pages/data.py", title="Data", icon=":material/table_rows:"),
        st.Page("pages/train.py", title="Train", icon=":material/school:"),
        st.Page("pages/merge.py", title="Merge", icon=":material/merge:"),
    ],
    "Prove": [
        st.Page("pages/evaluate.py", title="Evaluate", icon=":material/grid_on:"),
        st.Page("pages/judge.py", title="Judge", icon=":material/balance:"),
    ],
    "Work": [st.Page("pages/jobs.py", title="Jobs", icon=":material/list_alt:")],
}

st.set_page_config(page_title="Lyceum", page_icon=str(PAGES / "icon.svg"), layout="wide")
st.html(PAGES / "style.html")
page = st.navigation(SECTIONS)
with st.sidebar:
    parts.status_line()
try:
    page.run()
except UserError as error:
    st.error(parts.plain(str(error)))
