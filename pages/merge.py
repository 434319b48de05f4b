"""Merge: a mix that answers while its weights move, what was baked and what it cost, and weights found by a search."""

import streamlit as st

from core import console, findings, paths, read_only
from core.console import Shelf
from core.wording import count
from pages import evaluations, frame, merge_console, merge_controls, merge_details, merge_play, merge_search, parts

SHOWS = "Weights of a mix and its answers while they move, its loss per category beside base and own adapters, and what merging did."
WHY = "A merge is one model for all subjects; it costs something in each, and this page says how much."


@st.cache_data(show_spinner=False, max_entries=4)
def _shelf(folder: str, changed: int) -> Shelf:
    return console.shelf()


def shelf() -> Shelf:
    """The adapters under adapters/, read again when the folder has changed."""
    folder = paths.adapters()
    return _shelf(str(folder), folder.stat().st_mtime_ns if folder.exists() else 0)


def finding(merged: list[str]) -> str:
    """What merging cost, by the newest merged adapter that was evaluated."""
    for name in merged:
        if found := merge_details.evaluated(name):
            return findings.merged(evaluations.gains(found.run, found.compared), name)
    if merged:
        return f"{count(len(merged), 'merged adapter')} made; none has been evaluated yet, so what merging cost is not known."
    return f"{SHOWS} {WHY}"


frame.enter()
known, merged = shelf(), console.baked()
if known.infos or merged:
    parts.head("Merge", finding(merged))
else:
    parts.empty("Merge", SHOWS, WHY, "Train adapters first", "train")
parts.watch("merge")
if known.infos:
    usual = merge_play.usual(known)
    if not read_only.active():
        merge_controls.begin(known, usual)
        merge_console.live(known, usual)
    if merged:
        merge_details.show(merged, known, usual)
    if len(known.infos) > 1:
        merge_search.show(known.to_mix, usual)
elif merged:
    merge_details.show(merged, known, merge_play.usual(known))
