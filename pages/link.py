"""A page's state in its address, and as a link that brings it back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from core.results.found import Found

Link = Mapping[str, str | list[str]]
"""Query parameters."""


def write(link: Link, known: Iterable[str]) -> None:
    """Make the address say this; of the parameters in `known`, those that the link lacks leave."""
    for name in known:
        if name not in link and name in st.query_params:
            del st.query_params[name]
    now = {name: st.query_params.get_all(name) for name in link}
    new = {name: value for name, value in link.items() if now[name] != ([value] if isinstance(value, str) else value)}
    if new:
        st.query_params.update(new)


def opened(event: Any, name: str, ids: Sequence[str], known: Callable[[str], bool]) -> str:
    """Id of the row to show in full: the one chosen in a table, which the address names from then on, else the address's, else the first.

    `event`: what st.dataframe returned; `ids`: one per row of that table, the same whatever filters are set; `known`: whether there is
    such a row, in the table or on another of its pages.
    """
    chosen = event["selection"]["rows"]
    if chosen and chosen[0] < len(ids):
        st.query_params[name] = ids[chosen[0]]
    linked = st.query_params.get(name, "")
    return linked if known(linked) else ids[0]


def row(event: Any, name: str, ids: Sequence[str]) -> int:
    """Place of the row to show in full, in a table that has all of them: see `opened`."""
    return ids.index(opened(event, name, ids, ids.__contains__))


def numbered(found: Found) -> Callable[[str], bool]:
    """Whether an id is the number of one of these rows."""
    return lambda text: text.isdecimal() and int(text) in found


def query(link: Link) -> str:
    """What stands behind the question mark."""
    return urlencode(link, doseq=True)


def address(link: Link) -> str:
    """The whole link."""
    return f"{str(st.context.url).partition('?')[0]}?{query(link)}"
