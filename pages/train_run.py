"""One training run from close: what can be done with it, its adapters, its validation rows, and the first batch as the model saw it."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core import findings, results, runs, training
from core.results import Step, Token, ValidationRow
from core.runs import Run
from core.wording import count, plain, three
from pages import form, parts, tokens

COLUMNS = {
    "adapter": "adapter",
    "best": "best validation loss",
    "best_epoch": "at epoch",
    "first": "first validation loss",
    "loss": "last training loss",
    "step": "steps",
    "tokens_per_second": "tokens per second",
}


def actions(run: Run) -> None:
    """Status and settings in a line, why it ended if it did not end well, and what can be done: resume, clone, download."""
    with st.container(horizontal=True, vertical_alignment="center"):
        parts.chip(run.status)
        st.caption(plain(findings.training_run(run)), width="stretch")
    if run.error:
        st.warning(plain(run.error), icon=":material/error:")
        with st.expander("Last lines of its log"):
            st.code(runs.log_tail(run.parent or run.run_id) or "The log is empty.", language=None, wrap_lines=True)
    with st.container(horizontal=True):
        if run.status in ("failed", "cancelled") and parts.action(
            "Resume", key="train_resume", type="primary", help="Goes on from its last checkpoint; one that was cancelled starts anew."
        ):
            parts.act("resume", run.parent or run.run_id)
        _clone(run)
        for name, label in (("steps.csv", "Training table (CSV)"), ("loss_curve.png", "Loss curve (PNG)")):
            parts.download_file(run.path / name, label)


def _clone(run: Run) -> None:
    try:
        config = training.config_of(run)
    except ValueError as error:  # a setting that today's config refuses
        st.caption(f"Its settings can't be cloned: {plain(str(error))}")
        return
    parts.action("Clone", key="train_clone", help="Puts its settings into the form below.", on_click=form.clone, args=("train", config))


def adapters(run: Run, names: list[str]) -> None:
    """A row per adapter."""
    best = training.best_steps(parts.table(run, "steps.csv", Step))
    shown = best[best["adapter"].isin(names)] if names else best
    losses = {name: st.column_config.NumberColumn(COLUMNS[name], format="%.3f") for name in ("best", "first", "loss")}
    others = {name: st.column_config.NumberColumn(COLUMNS[name], format="%.3g") for name in ("best_epoch", "step", "tokens_per_second")}
    st.dataframe(
        shown[list(COLUMNS)],
        hide_index=True,
        placeholder="–",
        column_config=losses | others,
        alt="Best validation loss and last step of each adapter",
    )
    st.caption("Losses are in nats per token. Each adapter's is measured on its own rows. Click a column to sort.")


def compare(chosen: list[Run]) -> None:
    """Settings in which the overlaid runs differ, and what came of each."""
    if len(chosen) < 2:
        return
    bests = [training.best_steps(parts.table(run, "steps.csv", Step)) for run in chosen]
    left, right = st.columns(2)
    differing = training.differences(chosen)
    with left:
        st.caption("Settings that differ" if len(differing) else "All settings are the same.")
        if len(differing):
            st.dataframe(differing, alt="Settings in which the runs differ")
    with right:
        st.caption("Results")
        st.dataframe(training.comparison(chosen, bests), alt="Results of the runs")


def closer(run: Run, names: list[str]) -> None:
    """One adapter: the rows it predicts best and worst, and its first batch."""
    if not (run.path / "validation_rows.csv").exists() and not (run.path / "first_batch.csv").exists():
        return
    st.subheader("One adapter from close", anchor=False)
    adapter = st.selectbox("Adapter", names, key="closer", bind="query-params") or names[0]
    extremes(run, adapter)
    first_batch(run, adapter)


def extremes(run: Run, adapter: str) -> None:
    """The validation rows with the lowest and the highest losses."""
    rows = part(run.path / "validation_rows.csv", ValidationRow, adapter)
    if rows.empty:
        return
    low, high = training.lowest_and_highest(rows)
    mean = (rows["loss"] * rows["tokens"]).sum() / rows["tokens"].sum()
    said = f"{count(len(rows), 'validation row')} of {adapter}: {three(mean)} nats per token over all their tokens."
    st.markdown(f"**Best and worst validation rows.** {plain(said)}")
    for column, label, table in zip(st.columns(2), ("Lowest losses", "Highest losses"), (low, high), strict=True):
        with column:
            st.caption(label)
            with st.container(height=420):
                for row in table.itertuples():
                    st.caption(f"**{three(row.loss)}** nats per token, {count(row.tokens, 'answer token')}")
                    st.text(f"{row.question}\n→ {row.reference}")
    parts.download_file(run.path / "validation_rows.csv", "All validation rows (CSV)")


def first_batch(run: Run, adapter: str) -> None:
    """A row of the first optimiser step, token by token."""
    file = run.path / "first_batch.csv"
    if not file.exists():
        return
    st.markdown("**The first batch as the model saw it**")
    batch = part(file, Token, adapter)
    if batch.empty:
        st.caption("It was kept for the first adapters of the run alone; choose one of them above.")
        return
    rows = sorted(batch["row"].unique().tolist())
    row = st.segmented_control(
        "Row", rows, default=rows[0], format_func=lambda place: str(place + 1), key="batch_row", bind="query-params", required=True
    )
    shown = batch[batch["row"] == (row if row in rows else rows[0])].sort_values("position")
    counted = int(shown["supervised"].sum())
    st.caption(f"{count(len(shown), 'token')}, of which the loss counts {counted:,}: the answer and its end token.")
    tokens.show(shown, key=f"tokens-{run.run_id}-{adapter}-{row}")


def part(file: Path, row_type: type[results.Row], adapter: str) -> pd.DataFrame:
    """One adapter's rows of a table of a run; read again only when the file has changed."""
    return _part(str(file), row_type, adapter, file.stat().st_mtime_ns if file.exists() else 0)


@st.cache_data(show_spinner=False, max_entries=64)
def _part(path: str, row_type: type[results.Row], adapter: str, changed: int) -> pd.DataFrame:
    return training.rows_of(Path(path), row_type, adapter)
