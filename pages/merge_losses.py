"""Losses of base, own adapters, pooled adapter and mixes on validation rows, as the engine gets to know them."""

from collections.abc import Iterator, Sequence

import pandas as pd
import streamlit as st

from core import console, merge_charts, paths
from core.config import MergeConfig
from core.console import Play, Shelf
from core.live_losses import Tally, sentence
from core.results import ALL
from core.serve import client
from core.serve.resident import Engine
from core.wording import count, plain
from pages import playback

FIXED, HELD, MIX = SLOTS = ("losses.fixed", "losses.held", "losses.mix")
OWN = "own adapters"
Asked = tuple[str, str, MergeConfig | None, tuple[str, ...] | None]
"""Name in the picture, role, mix (None: the base) and categories (None: all)."""


def ask(engine: Engine, play: Play, held: MergeConfig | None, shelf: Shelf, categories: Sequence[str]) -> None:
    """Ask for the losses that aren't there yet."""
    fixed: list[Asked] = [("base", "base", None, None)]
    fixed += [(OWN, "own", console.alone(shelf.own[category]), (category,)) for category in categories if category in shelf.own]
    fixed += [(shelf.pooled, "pooled", console.alone(shelf.pooled), None)] if shelf.pooled else []
    _stream(engine, play, MIX, [("mix B" if held else "mix", "merged", play.mix, None)])
    if held:
        _stream(engine, play, HELD, [("mix A", "held", held, None)])
    else:
        playback.clear(HELD)
    _stream(engine, play, FIXED, fixed)


def _stream(engine: Engine, play: Play, slot: str, rows: Sequence[Asked]) -> None:
    settings = {name: getattr(play, name) for name in ("data", "system_prompt", "max_seq_length", "limit")}
    if paths.is_url(play.data):
        settings["data"] = str(paths.data_file(play.data))  # the engine reads files alone
    session = f"{playback.session()}.{slot}"

    def read() -> Iterator[playback.Event]:
        mixes = [console.request(mix) for _, _, mix, _ in rows]
        return client.losses(engine, session, mixes, categories=[only and list(only) for *_, only in rows], **settings)

    playback.play(slot, (engine.pid, tuple(settings.items()), tuple(rows)), read)


def table(categories: Sequence[str]) -> pd.DataFrame:
    """What is known so far."""
    tally = Tally()
    for found in filter(None, map(playback.playing, SLOTS)):
        tally.add(found.look(), [(name, role) for name, role, *_ in found.asked[-1]])
    return tally.table(categories)


def show(limit: int, categories: Sequence[str]) -> None:
    """The picture, and its reading."""
    losses = table(categories)
    for refused in _refused():
        st.caption(plain(refused))
    if losses.empty:
        if playback.going(SLOTS):
            st.caption("Losses on validation rows: the engine works on the first ones.")
        return
    said = sentence(losses)
    with st.container(key="live-losses"):
        st.plotly_chart(merge_charts.losses(losses, categories), alt=said, key="losses", config={"displayModeBar": False})
    each = losses[losses["category"] != ALL]
    rest = int((each["of"] - each["n"]).sum())
    left = f" {count(rest, 'row')} to go." if rest else ""
    reading = "Whiskers: 95 % interval of the difference from base, paired by row, bootstrap over rows."
    limited = f"At most {count(limit, 'validation row')} per category; test rows are never read."
    st.caption(f"{plain(said)} {reading} {limited}{left}")


def _refused() -> list[str]:
    """Why some of the mixes have no losses."""
    events = [event for found in filter(None, map(playback.playing, SLOTS)) for event in found.look()]
    return list(dict.fromkeys(event["error"] for event in events if "error" in event))
