"""The resident engine as pages meet it: found, or started with one button that says what it takes."""

from pathlib import Path

import streamlit as st

from core.config import ServeConfig
from core.errors import UserError
from core.serve import resident
from core.serve.resident import Engine
from core.wording import plain

BUNDLED = "bundled"
TAKES = {
    True: "Starting takes 5 to 15 s (a minute the first time, when the bundled weights are converted) and about 1.2 GB of memory.",
    False: "Starting takes about as long as loading the model, and as much memory as its weights.",
}


def find() -> Engine | None:
    """The engine that lives."""
    return resident.find()


def start(base_model: str, why: str) -> None:
    """Say that no engine runs and what it would do here, with the button that starts it; once it answers the page runs again."""
    if not resident.ours():
        absent()
        return
    st.info(f"The engine is not running. {why} {TAKES[base_model == BUNDLED]}", icon=":material/bolt:")
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Start the engine", key="engine.start", type="primary")
        st.caption(f"Or in a terminal: `python -m core serve{'' if base_model == BUNDLED else f' --base_model {base_model}'} --detach`")
    if not pressed:
        return
    try:
        with st.spinner("Starting the engine", show_time=True):
            resident.start(ServeConfig(base_model=base_model))
    except UserError as error:
        st.error(plain(str(error)))
        return
    st.rerun()


def absent() -> None:
    """Say that no engine answers, where none can be started from here."""
    st.info("No engine answers at the moment, and none can be started from here. Try again in a minute.", icon=":material/bolt:")


def other_base(engine: Engine, base_model: str) -> str:
    """Why this engine can't play adapters of `base_model`; empty when it can."""
    if engine.base_model == base_model or Path(engine.base_model).name == Path(base_model).name:
        return ""
    return f"The engine holds {engine.base_model}, these adapters stand on {base_model}. Stop it, and start it again here."


def stop_button(key: str) -> None:
    """The button that ends the engine, where it can be ended from here; what it answers breaks off."""
    if resident.ours():
        st.button("Stop the engine", key=key, on_click=resident.stop, help="Frees its memory; answers under way break off.")
