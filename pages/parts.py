"""What all pages share: the head with its finding, the empty state, the run picker, status chips, live progress, tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core import paths, private, progress, read_only, results, runs
from core.config import Config
from core.errors import UserError
from core.results import Row
from core.runs import Run
from core.wording import day, duration, plain, seconds_between

CHIPS = {"queued": "gray", "running": "blue", "done": "green", "failed": "orange", "cancelled": "gray"}
BUNDLED = "SmolLM2-135M-Instruct"
LIVE_SECONDS = 2
MOST_SENT = 200_000_000
"""Bytes of a table that a browser is sent; Streamlit holds what it sends in memory."""
State = tuple[tuple[str, int, int], ...]
"""Paths of files with when they changed and their sizes."""


def head(title: str, finding: str) -> None:
    """A page's first lines: its title and one finding, made from the data."""
    st.title(title, anchor=False)
    st.markdown(plain(finding))


def empty(title: str, shows: str, why: str, button: str, page: str | None = None) -> bool:
    """A page with nothing to show yet: what it will show, why it matters, and the one button that gets there. True when it was pressed."""
    head(title, f"{shows} {why}")
    if page:
        st.page_link(f"pages/{page}.py", label=button, icon=":material/arrow_forward:")
        return False
    return action(button, type="primary")


def action(label: str, **given: Any) -> bool:
    """A button for something that starts, changes or ends something; in read-only mode there is none."""
    return not read_only.active() and st.button(label, **given)


def doing(title: str = "") -> None:
    """The last part of a page begins here: what can be done. In read-only mode the page ends before it."""
    if read_only.active():
        st.caption("This is a read-only demo, so nothing can be started here.")
        st.stop()
    if title:
        st.subheader(title, anchor=False)


def chip(status: str) -> None:
    """The status word of a run, the same everywhere."""
    st.badge(status, color=CHIPS[status])  # type: ignore[arg-type]


def submit(verb: str, config: Config) -> None:
    """Submit a job and say where it can be watched; an error that the person can mend is shown as it is."""
    from core.jobs import local

    try:
        run = local.submit(verb, config)
    except UserError as error:
        st.error(plain(str(error)))
        return
    st.toast(f"Submitted: {verb}")
    st.session_state["submitted"] = run.run_id
    st.rerun()


def act(verb: str, run_id: str) -> None:
    """Cancel or resume, and show what came of it."""
    from core.jobs import local

    try:
        getattr(local, verb)(run_id)
    except UserError as error:
        st.error(plain(str(error)))
        return
    st.rerun(scope="app")


def state(*files: Path) -> State:
    """How those of these files stand that are there."""
    there = ((str(file), file.stat()) for file in files if file.exists())
    return tuple((path, state.st_mtime_ns, state.st_size) for path, state in there)


def table(run: Run, name: str, row_type: type[Row]) -> pd.DataFrame:
    """A table of a run; read again only when the file has changed."""
    path = run.path / name
    if not path.exists():
        return pd.DataFrame(columns=row_type.columns())
    state = path.stat()
    return _table(str(path), row_type, state.st_mtime_ns, state.st_size)


@st.cache_data(show_spinner=False, max_entries=64)
def _table(path: str, row_type: type[Row], changed: int, size: int) -> pd.DataFrame:
    return results.read(Path(path), row_type)


def label(run: Run) -> str:
    """A run in one line: when, what of, how it stands."""
    whole = f" · {runs.verb_of(run.parent)}" if run.parent else ""
    return f"{day(run.created_at)}{whole} · {run.run_id[-4:]}" + ("" if run.status == "done" else f" · {run.status}")


def pick_run(found: list[Run], key: str, said: Callable[[Run], str] = label) -> Run:
    """Choose one of several runs of a verb, each `said` in one line; the run's id stands in the URL."""
    if len(found) == 1:
        return found[0]
    by_id = {run.run_id: run for run in found}
    if key not in st.session_state and st.query_params.get(key) in by_id:
        st.session_state[key] = st.query_params[key]
    chosen = st.selectbox("Run", list(by_id), format_func=lambda run_id: said(by_id[run_id]), key=key) or found[0].run_id
    st.query_params[key] = chosen
    return by_id[chosen]


def under_way(verb: str) -> list[Run]:
    """Runs of a verb that are queued or running, oldest first."""
    return [run for run in reversed(runs.listing(verb)) if run.status in ("queued", "running")]


def watch(verb: str, shown: Run | None = None) -> None:
    """Jobs of this verb that are under way, refreshing by themselves, and the newest failure if nothing came after it.

    `shown`: a run whose failure the page tells elsewhere.
    """
    active = under_way(verb)
    if active:
        live(lambda: _bars(verb), True)
        return
    newest = failed(verb)
    if newest and newest != shown:
        failure(newest)


def failed(verb: str) -> Run | None:
    """The newest run of a verb if it failed."""
    newest = runs.listing(verb)[:1]
    return newest[0] if newest and newest[0].status == "failed" else None


def failed_line(run: Run | None) -> None:
    """A failed run in a small line that names it, below what another run found."""
    if run and not under_way(run.verb):
        st.caption(plain(f"Another run, {label(run)}: {private.shown(run.error or 'no reason was recorded')}"))
        see(run)


def see(run: Run) -> None:
    """A link to a failed run; to its resuming where it was cut off, not where its settings or data are at fault."""
    resumable = "--resume" in (run.error or "") and not read_only.active()
    said = "Resume it, or see all of it" if resumable else "See all of it"
    st.page_link("pages/jobs.py", label=said, icon=":material/arrow_forward:", query_params={"job": run.run_id})


def live(draw: Callable[[], None], active: bool) -> None:
    """Draw a part that redraws itself every two seconds while a job is under way; no other part of the page reruns."""
    st.fragment(draw, run_every=LIVE_SECONDS if active else None)()


def _bars(verb: str) -> None:
    active = under_way(verb)
    if not active:
        st.rerun(scope="app")
    for run in active:
        bar(run)


def bar(run: Run) -> None:
    """One job under way: its status, a link to it, its progress with the time left."""
    with st.container(horizontal=True, vertical_alignment="center"):
        chip(run.status)
        st.page_link("pages/jobs.py", label=f"{run.verb} {run.run_id[-4:]}", query_params={"job": run.run_id})
    how_far(run)


def how_far(run: Run) -> None:
    """A progress bar, or what the job waits for."""
    said = progress.latest(run.run_id)
    if said:
        st.progress(said.share, plain(said.text))
    elif run.status == "running":
        st.progress(0.0, f"starting, {duration(seconds_between(run.started_at))} so far")
    else:
        st.caption("Waits for the device: one job computes at a time, oldest first.")


def failure(run: Run) -> None:
    """What went wrong, the last log lines, and what to do."""
    st.warning(f"The last {run.verb} failed: {plain(private.shown(run.error or 'no reason was recorded'))}", icon=":material/error:")
    with st.expander("Last lines of its log"):
        st.code(private.shown(runs.log_tail(run.run_id)) or "The log is empty.", language=None, wrap_lines=True)
    see(run)


def download(name: str, data: pd.DataFrame | Callable[[], pd.DataFrame], label: str = "", key: str = "") -> None:
    """A table as a CSV file; in read-only mode without this machine's folders. `data`: the table, or what makes it when it is wanted."""
    clean = private.removed_from_table if read_only.active() else lambda table: table

    def content(table: pd.DataFrame) -> bytes:
        return bytes(clean(table).to_csv(index=False).encode("utf-8"))

    given = content(data) if isinstance(data, pd.DataFrame) else lambda: content(data())
    st.download_button(label or name, given, name, "text/csv", on_click="ignore", icon=":material/download:", key=key or f"download-{name}")


def too_large(file: Path) -> str:
    """Why a table isn't sent to a browser, and where it is; empty where it can be sent."""
    if file.stat().st_size <= MOST_SENT:
        return ""
    return f"{file.name} has {file.stat().st_size / 1e6:,.0f} MB, too much for a browser. It lies whole in {paths.shown(file.parent)}"


def download_file(file: Path, label: str) -> None:
    """A file of a run as it stands, read when the button is pressed; nothing where there is none."""
    if file.exists():
        icon, key = ":material/download:", f"download-{file.name}"
        st.download_button(label, file.read_bytes, file.name, on_click="ignore", icon=icon, key=key)
