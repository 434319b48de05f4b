"""What stands round every page: the gate, the navigation, the sidebar with what is running, and errors shown as they stand."""

import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from core import private, progress, read_only, runs, store
from core.errors import UserError
from core.runs import Run
from core.wording import duration, plain, seconds_between
from pages import gate, parts, uploads_off

ENDS = {"done": ":material/check:", "failed": ":material/error:", "cancelled": ":material/block:"}
HERE = Path(__file__).parent


def navigation(position: Literal["sidebar", "hidden"] = "sidebar") -> StreamlitPage:
    """The pages in their sections; returns the one to run."""
    return st.navigation(
        position=position,
        pages={
            "": [
                st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True),
                st.Page("pages/start.py", title="Start", icon=":material/flag:"),
            ],
            "Build": [
                st.Page("pages/data.py", title="Data", icon=":material/table_rows:"),
                st.Page("pages/train.py", title="Train", icon=":material/school:"),
                st.Page("pages/merge.py", title="Merge", icon=":material/merge:"),
            ],
            "Prove": [
                st.Page("pages/evaluate.py", title="Evaluate", icon=":material/grid_on:"),
                st.Page("pages/judge.py", title="Judge", icon=":material/balance:"),
                st.Page("pages/arena.py", title="Arena", icon=":material/how_to_vote:"),
                st.Page("pages/rag.py", title="RAG", icon=":material/library_books:"),
                st.Page("pages/claims.py", title="Claims", icon=":material/fact_check:"),
            ],
            "Use": [
                st.Page("pages/playground.py", title="Playground", icon=":material/forum:"),
                st.Page("pages/serve.py", title="Serve", icon=":material/dns:"),
                st.Page("pages/share.py", title="Share", icon=":material/ios_share:"),
            ],
            "Work": [st.Page("pages/jobs.py", title="Jobs", icon=":material/list_alt:")],
            "Learn": [st.Page("pages/guide.py", title="Guide", icon=":material/menu_book:")],
        },
        expanded=True,
    )


def app() -> None:
    """The whole app: navigation, status line, and the page; an error that the person can mend is shown as it is."""
    st.set_page_config(page_title="Lyceum", page_icon=str(HERE / "icon.svg"), layout="wide")
    st.html(HERE / "style.html")
    if read_only.active():
        uploads_off.refuse_all()
    passed = gate.passed()
    uploads_off.keep(passed)
    if not passed:
        navigation("hidden")  # the address stays as it is for who comes in
        gate.ask()
        return
    page = navigation()
    with st.sidebar:
        status_line(names=page.url_path != "arena")
        st.html(HERE / "scrolling.html", unsafe_allow_javascript=True)
        gate.ways_out()
    st.session_state["inside"] = True
    try:
        page.run()
    except UserError as error:
        st.error(plain(str(error)))
    finally:
        st.session_state.pop("inside", None)


def enter() -> None:
    """First line of every page. Because there is a pages/ folder, Streamlit runs a page alone
    when its address is the first that a fresh server is asked for; then the page runs the app, and the app the page.
    """
    if "inside" not in st.session_state:
        app()
        st.stop()


def status_line(names: bool = True) -> None:
    """Sidebar: base model, device, and what is running with its time left. Without `names` nothing in it names a model."""
    from core.jobs import local

    active = local.reconcile()
    newest = next((run for run in runs.listing() if "base_model" in run.config), None)
    name = str(newest.config["base_model"]) if newest else "bundled"
    base = f"Base model: {plain(parts.BUNDLED if name == 'bundled' else Path(name).name)}  \n" if names else ""
    st.caption(f"{base}Device: {device()}")
    if read_only.active():
        st.badge("Read-only", color="gray", icon=":material/visibility:")
    for news in store.refresh():
        st.caption(plain(private.shown(news)))
    parts.live(lambda: _status(names), bool(active))


def _status(names: bool) -> None:
    every = {run.run_id: run for run in runs.listing() if run.parent is None}
    running, queued = ([run for run in every.values() if run.status == status] for status in ("running", "queued"))
    _announce(every, [run.run_id for run in (*running, *queued)], names)
    for run in running:
        said = progress.latest(run.run_id)
        text = "starting" if said is None else plain(said.text) if names else f"{said.share:.0%}"
        st.progress(said.share if said else 0.0, f"{run.verb}: {text}")
    if queued:
        st.caption(f"{len(queued)} waiting")
    if not running and not queued:
        st.caption("No job is running.")


def _announce(every: Mapping[str, Run], active: list[str], names: bool) -> None:
    """A toast for each job that has ended since this session last looked."""
    ended = [run_id for run_id in st.session_state.get("active", []) if run_id in every and run_id not in active]
    st.session_state["active"] = active
    for run in (every[run_id] for run_id in ended):
        took = f" after {duration(seconds_between(run.started_at, run.finished_at))}" if run.started_at else ""
        why = f": {plain(private.shown(run.error))}" if run.error and names else ""
        st.toast(f"{run.verb} {run.status}{took}{why}", icon=ENDS.get(run.status), duration="long")


def device() -> str:
    """What a job with device auto would most likely compute on, told without loading torch."""
    if shutil.which("nvidia-smi"):
        return "CUDA"
    return "MPS" if platform.system() == "Darwin" and platform.machine() == "arm64" else "CPU"
