"""Train: loss and validation loss per category, live; several runs overlaid; the form that trains."""

import pandas as pd
import streamlit as st

from core import charts, findings, queries, results
from core.config import TrainConfig
from core.runs import Run
from core.wording import three
from pages import form, parts

FIELDS = ["data", "categories", "method", "r", "lora_alpha", "learning_rate", "epochs", "batch_size", "name"]


def steps(chosen: list[Run]) -> pd.DataFrame:
    """The steps of several runs, each row with its run."""
    tables = [parts.table(run, "steps.csv", results.Step).assign(run=run.run_id[-4:]) for run in chosen]
    return pd.concat(tables) if tables else pd.DataFrame()


def curves(chosen: list[Run], adapters: list[str]) -> None:
    """The main picture: drawn again every two seconds while one of the runs goes on."""
    current = [queries.runs.read(run.run_id) for run in chosen]
    if [run.status for run in current] != [run.status for run in chosen]:
        st.rerun(scope="app")
    table = steps(current)
    shown = table[table["adapter"].isin(adapters)] if adapters else table
    if shown.empty:
        st.caption("No step has been taken yet.")
        return
    finding = findings.training(queries.best_steps(shown[shown["run"] == chosen[0].run_id[-4:]]), chosen[0].status)
    st.plotly_chart(charts.loss_curves(shown), alt=finding, key="curves", config={"displayModeBar": False})
    st.caption("Thin: training loss, smoothed. Thick: validation loss. Star: the best validation, whose weights are kept by default.")


def summary(run: Run) -> None:
    """A row per adapter, and the whole table to take away."""
    table = parts.table(run, "steps.csv", results.Step)
    best = queries.best_steps(table)
    shown = best.assign(**{name: [three(value) for value in best[name]] for name in best.columns if name != "adapter"})
    st.dataframe(
        shown[["adapter", "best", "best_epoch", "first", "loss", "step", "tokens_per_second"]],
        hide_index=True,
        alt="Best validation loss and last step of each adapter",
        column_config={
            "best": "best validation loss (nats per token)",
            "best_epoch": "at epoch",
            "first": "first validation loss",
            "loss": "last training loss",
            "tokens_per_second": "tokens per second",
        },
    )
    parts.download("steps.csv", table, "Download all steps as CSV")


def differences(chosen: list[Run]) -> None:
    """Settings in which the overlaid runs differ."""
    names = [name for name in TrainConfig.model_fields if len({str(run.config.get(name)) for run in chosen}) > 1]
    if names:
        st.caption("Settings that differ")
        st.dataframe(
            pd.DataFrame({run.run_id[-4:]: [str(run.config.get(name)) for name in names] for run in chosen}, index=pd.Index(names))
        )


parts.enter()
trained = queries.runs_with("train", "steps.csv", done=False)
if trained:
    title = st.container()
    choice, overlay, which = st.columns(3, vertical_alignment="bottom") if len(trained) > 1 else (st.empty(), st.empty(), st.container())
    with choice:
        run = parts.pick_run(trained, "train_run")
    by_label = {parts.label(other): other for other in trained if other != run}
    overlaid: list[str] = []
    if by_label:
        with overlay:
            overlaid = st.multiselect(
                "Overlay", list(by_label), key="overlay", bind="query-params", placeholder="no other run", max_selections=3
            )
    with which:
        names = list(dict.fromkeys(parts.table(run, "steps.csv", results.Step)["adapter"]))
        adapters = st.multiselect("Adapters", names, key="train_adapter", bind="query-params", placeholder="all")
    runs_shown = [run, *(by_label[name] for name in overlaid)]
    with title:
        parts.head("Train", findings.training(queries.best_steps(parts.table(run, "steps.csv", results.Step)), run.status))
    parts.watch("train")
    parts.live(lambda: curves(runs_shown, adapters), any(each.status == "running" for each in runs_shown))
    differences(runs_shown)
    summary(run)
elif parts.empty(
    "Train",
    "Loss and validation loss of each adapter, live, on common axes.",
    "One pass over a frozen base trains an adapter per category; the curves say when each has learned enough.",
    "Train one adapter per school",
):
    parts.submit("train", TrainConfig())
else:
    parts.watch("train")

st.subheader("Train adapters", anchor=False)
form.form("train", "Train", FIELDS, {"data": form.datasets(), "categories": ["each", "pooled"], "target_modules": ["all-linear"]})
