"""Jobs: what runs, what waits, what ended how; progress, log, cancel, resume."""

import pandas as pd
import streamlit as st

from core import private, read_only, runs, store
from core.runs import ENDED, Run
from core.wording import MISSING, count, day, duration, listed, plain, seconds_between
from pages import frame, parts

STATUSES = ["all", "running", "queued", "done", "failed", "cancelled"]
# pages that show a run of the verb, and the name of their choice in the URL
RESULTS = {
    "data": "data_run",
    "train": "train_run",
    "evaluate": "evaluation",
    "judge": "judge_run",
    "claims": "claims_run",
    "arena": "round",
    "report": "bundle",
}
SHOWN_ON = {"report": "share"}
"""The page of a verb where it is not called like it."""


def finding(found: list[Run]) -> str:
    """How many of each status."""
    counts = {status: sum(run.status == status for run in found) for status in STATUSES[1:]}
    return f"{count(len(found), 'job')}: {listed([f'{number} {status}' for status, number in counts.items() if number])}."


def first(found: list[Run]) -> str | None:
    """The job to show unasked: the one that runs, else the newest."""
    return next((run.run_id for run in found if run.status == "running" and run.parent is None), found[0].run_id if found else None)


def overview(found: list[Run]) -> str | None:
    """The list of jobs; returns the id of the chosen one."""
    table = pd.DataFrame(
        {
            "status": [run.status for run in found],
            "job": [run.verb for run in found],
            "submitted": [day(run.created_at) for run in found],
            "took": [duration(seconds_between(run.started_at, run.finished_at)) if run.started_at else MISSING for run in found],
            "error": [private.shown(run.error or "") for run in found],
            "run": [run.run_id for run in found],
        }
    )
    event = st.dataframe(table, hide_index=True, on_select="rerun", selection_mode="single-row", key="joblist", alt="Jobs, newest first")
    chosen = event["selection"]["rows"]
    return found[chosen[0]].run_id if chosen and chosen[0] < len(found) else None


def detail(run_id: str, active: bool) -> None:
    """One job: status, progress, what can be done, its log. A stage of a demo is cancelled, resumed and logged with the whole."""
    run = runs.read(run_id)
    job = run.parent or run_id
    if active and run.status not in ("queued", "running"):
        st.rerun(scope="app")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{run.verb}**")
        parts.chip(run.status)
        host = store.elsewhere(job)
        where = f" on {host}" if host else " on Ray" if run.executor == "ray" else ""
        st.caption(run.run_id + where, width="content")
    if run.status in ("queued", "running"):
        parts.how_far(run)
        if parts.action("Cancel", key="cancel", help="Ends the job within seconds and leaves nothing half-made."):
            parts.act("cancel", job)
    if run.error:
        st.warning(plain(private.shown(run.error)), icon=":material/error:")
    if run.status in ("failed", "cancelled") and parts.action(
        "Resume", key="resume", type="primary", help="Goes on from its last checkpoint."
    ):
        parts.act("resume", job)
    if run.status == "done":
        done(run)
    if run.status in ENDED and run.parent is None and not read_only.active():
        with st.popover("Remove", help="Asks before it removes anything."):
            st.markdown("Its folder goes for good: tables, log, settings, and those of its stages. Adapters and merges that it made stay.")
            if st.button("Remove it for good", key="remove"):
                st.query_params.pop("job", None)
                parts.act("remove", job)
    st.code(private.shown(runs.log_tail(job, 15)) or "The log is empty.", language=None, wrap_lines=True)


def done(run: Run) -> None:
    """Where the results are shown."""
    stages = [other for other in runs.listing() if other.parent == run.run_id]
    for shown in [run, *reversed(stages)]:
        if shown.verb in RESULTS:
            chosen = {RESULTS[shown.verb]: shown.run_id}
            st.page_link(
                f"pages/{SHOWN_ON.get(shown.verb, shown.verb)}.py",
                label=f"See its results: {shown.verb}",
                icon=":material/arrow_forward:",
                query_params=chosen,
            )


frame.enter()
jobs = runs.listing()
if not jobs:
    parts.empty(
        "Jobs",
        "Every job with its progress, time left and log; it can be left, found again, cancelled and resumed.",
        "Jobs run outside the browser, one at a time per device, and survive closing it.",
        "Start with the data",
        "data",
    )
else:
    parts.head("Jobs", finding(jobs))
    status = st.segmented_control("Status", STATUSES, default="all", key="status", bind="query-params", required=True)
    shown_jobs = [run for run in jobs if status in ("all", run.status)]
    selected = overview(shown_jobs)
    wanted = selected or st.query_params.get("job") or first(shown_jobs)
    if selected:
        st.query_params["job"] = selected
    if wanted:
        chosen_run = runs.read(wanted)
        going = chosen_run.status in ("queued", "running")
        with st.container(border=True):
            parts.live(lambda: detail(wanted, going), going)
        with st.expander("Settings and outputs"):
            st.json(private.removed({"config": chosen_run.config, "outputs": chosen_run.outputs, "versions": chosen_run.versions}))
