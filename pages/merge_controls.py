"""The console's controls: adapters, presets, triangle, sliders and strategy; undo, and two mixes beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from core import console, merge_charts
from core.config import MergeConfig
from core.console import Play, Shelf
from core.errors import UserError
from core.wording import count, plain
from pages import fields, form, merge_play

MOST = 12
"""Adapters that stand in a first mix unasked; with more of them, people choose."""
REACH = (-1.0, 2.0)
"""The sliders' ends, wider where a weight lies beyond."""
STEPS_BACK = 200


def begin(shelf: Shelf, usual: Play) -> None:
    """Put the state of the link, or else a first mix, into a session that is new to this page."""
    if "merge.adapters" in st.session_state:
        return
    fields.start("merge")
    names = shelf.to_mix or list(shelf.infos)
    first = MergeConfig(adapters=tuple(names)) if 0 < len(names) <= MOST else None
    params = {name: st.query_params.get_all(name) for name in st.query_params}
    play = replace(usual, mix=first)
    if "adapters" in params:
        try:
            play = console.from_link(params, usual)
        except UserError as error:
            st.warning(plain(str(error)), icon=":material/error:")
    st.session_state["merge.adapters"] = []
    merge_play.put(play)
    if play.mix:
        put(play.mix)


def put(mix: MergeConfig) -> None:
    """Move all controls to a mix."""
    keep = {name: st.session_state[f"merge.{name}"] for name in console.BAKED}
    fields.put("merge", mix)
    for name, value in keep.items():
        st.session_state[f"merge.{name}"] = value
    low, high = st.session_state.get("merge.reach", REACH)
    for name, weight in console.weights_of(mix).items():
        st.session_state[f"weight.{name}"] = round(weight, 2) if not mix.weights else float(weight)
        low, high = min(low, weight), max(high, weight)
    st.session_state["merge.reach"] = (float(low), float(high))


def controls(shelf: Shelf, play: Play) -> MergeConfig | None:
    """Adapters, presets, triangle, sliders, strategy; the mix that they make."""
    names = st.multiselect(
        "Adapters",
        list(shelf.infos),
        key="merge.adapters",
        accept_new_options=True,
        persist_state="session",
        help="Names under adapters/, or paths of PEFT folders.",
    )
    if not names:
        st.caption("Choose the adapters to merge.")
        return None
    _buttons(names, shelf, play)
    shares = _sliders(names)
    if len(names) == 3:
        _triangle(names)
    if console.needs_density(st.session_state["merge.strategy"]) and st.session_state["merge.density"] is None:
        st.session_state["merge.density"] = console.FIRST_DENSITY
    config = form.settings("merge", ["strategy", "rank"], fixed={"adapters": tuple(names), "weights": shares}, across=1)
    if not isinstance(config, MergeConfig):
        return None
    _remember(console.played(config))
    return config


def _buttons(names: Sequence[str], shelf: Shelf, play: Play) -> None:
    """Presets, undo, and the comparison of two mixes."""
    found = console.presets(names, shelf.own, play.questions, MOST)
    with st.container(horizontal=True):
        st.menu_button("Presets", list(found), key="merge.presets", on_click=_use, args=(found,), help="Weights by name; sliders follow.")
        st.button("Undo", key="merge.undo", icon=":material/undo:", on_click=_undo, disabled=len(_past()) < 2, help="One move back.")
        if held() is None:
            st.button("Compare", key="merge.hold", on_click=_hold, help="Keeps this mix as A; you go on with B beside it.")
        else:
            st.button("Swap A and B", key="merge.swap", on_click=_swap)
            st.button("Drop A", key="merge.drop", on_click=_drop)


def _sliders(names: Sequence[str]) -> tuple[float, ...]:
    """A slider per adapter, 0 is off. No weights stand for 1/n each, which a slider's two decimals can't say."""
    even, values = round(1 / len(names), 2), []
    low, high = st.session_state.get("merge.reach", REACH)
    for start in range(0, len(names), 2):
        for column, name in zip(st.columns(2), names[start : start + 2], strict=False):
            key = f"weight.{name}"
            st.session_state.setdefault(key, even)
            help_text = "Weight in the mix: 0 is off, 1 is all of it, less than 0 takes it away."
            values.append(column.slider(plain(name), low, high, step=0.01, key=key, help=help_text, persist_state="session"))
    return () if set(values) == {even} else tuple(values)


def _triangle(names: Sequence[str]) -> None:
    """Three adapters: click where the mix should be."""
    weights = [st.session_state[f"weight.{name}"] for name in names]
    figure = merge_charts.triangle(names, weights)
    said = "Click in the triangle: each corner is one adapter alone, the middle is 1/3 each."
    place = {"key": "merge.triangle", "on_select": lambda: _click(names), "selection_mode": "points"}
    st.plotly_chart(figure, alt=said, config={"displayModeBar": False}, **place)
    st.caption(said)


def _click(names: Sequence[str]) -> None:
    points = st.session_state["merge.triangle"]["selection"]["points"]
    if points and points[0].get("customdata"):
        for name, weight in zip(names, points[0]["customdata"], strict=True):
            st.session_state[f"weight.{name}"] = round(float(weight), 2)


def _use(found: Mapping[str, MergeConfig]) -> None:
    """A preset of weights keeps the strategy; one that was baked brings its own."""
    chosen = found.get(st.session_state["merge.presets"])
    if chosen is None:
        return
    if not st.session_state["merge.presets"].startswith("As baked"):
        settings = {name: st.session_state.get(f"merge.{name}") for name in console.PLAYED if name not in ("adapters", "weights")}
        chosen = chosen.model_copy(update=settings)
    put(chosen)


def _past() -> list[MergeConfig]:
    found: list[MergeConfig] = st.session_state.setdefault("merge.past", [])
    return found


def _remember(mix: MergeConfig) -> None:
    if not _past() or _past()[-1] != mix:
        _past().append(mix)
        del _past()[:-STEPS_BACK]


def _undo() -> None:
    if len(_past()) > 1:
        _past().pop()
        put(_past()[-1])


def held() -> MergeConfig | None:
    """The mix that was put aside as A."""
    found: MergeConfig | None = st.session_state.get("merge.held")
    return found


def _hold() -> None:
    if _past():
        st.session_state["merge.held"] = _past()[-1]


def _swap() -> None:
    other = held()
    if other and _past():
        st.session_state["merge.held"] = _past()[-1]
        put(other)


def _drop() -> None:
    st.session_state["merge.held"] = None


def words(mix: MergeConfig) -> str:
    """A mix in a line."""
    weights = console.weights_of(mix)
    on = [f"{name} {weight:.2f}" for name, weight in weights.items() if weight]
    return f"{mix.strategy} of {count(len(on), 'adapter')}: {', '.join(on[:MOST])}" if on else "all weights are 0: the base model"
