"""Tables that come a page at a time: filters whose state is the URL, the page's number, and what a page sends.

Another filter goes back to the first page. `key`: the name of the page's number in the URL.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.results.found import PAGE
from pages import link

CUT = 160
"""Signs of a text in a table; the row in full has all of it."""


def choice(
    column: "st.delta_generator.DeltaGenerator",
    label: str,
    name: str,
    options: Iterable[str],
    said: Callable[[str], str] = str,
    key: str = "page",
) -> str:
    """A filter to choose from a list."""
    names = list(options)
    chosen = column.selectbox(label, names, format_func=said, key=name, bind="query-params", on_change=back_to_first, args=(key,))
    return chosen or names[0]


def contains(column: "st.delta_generator.DeltaGenerator", name: str = "contains", key: str = "page") -> str:
    """A text to look for."""
    hint = "text in question or answer"
    return column.text_input("Contains", key=name, bind="query-params", placeholder=hint, on_change=back_to_first, args=(key,)) or ""


def back_to_first(key: str = "page") -> None:
    """What another filter does to the page's number."""
    st.session_state[key] = 1


def turned(pages: int, key: str = "page") -> int:
    """The page that is shown."""
    if pages == 1:
        return 1
    return min(pages, st.pagination(pages, key=key, bind="query-params"))


def part(table: pd.DataFrame, key: str = "page") -> pd.DataFrame:
    """The rows of the page that is shown."""
    number = turned(max(1, -(-len(table) // PAGE)), key)
    return table.iloc[(number - 1) * PAGE : number * PAGE]


def picked(
    table: pd.DataFrame, name: str, ids: Sequence[str], known: Callable[[str], bool], columns: Mapping[str, Any] | None = None, **looks: Any
) -> str:
    """The page's rows to choose one from: the id of the one to show in full, which `name` in the URL says (link.opened).

    `columns`: st.dataframe's column_config; `looks`: its height, key and alt.
    """
    event = st.dataframe(table, hide_index=True, on_select="rerun", selection_mode="single-row", column_config=columns, **looks)
    return link.opened(event, name, ids, known)


def cut(table: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """A table with the beginnings of these texts."""
    return table.assign(**{name: table[name].str.slice(0, CUT) for name in names if name in table})
