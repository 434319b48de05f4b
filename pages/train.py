"""Train: loss curves live, runs beside each other, one run from close; then the form, with what it would cost."""

import pandas as pd
import streamlit as st

from core import findings, loss_curves, results, runs, training
from core.config import TrainConfig
from core.runs import Run
from core.wording import plain
from pages import estimate, form, frame, parts, train_run

FIELDS = [
    *("data", "categories", "base_model", "method", "r", "lora_alpha"),
    *("learning_rate", "epochs", "batch_size", "system_prompt", "max_seq_length", "name"),
]


def steps(chosen: list[Run]) -> pd.DataFrame:
    """The steps of several runs, each row with its run; adapters of one subject have the first run's name."""
    tables = training.aligned(chosen, [parts.table(run, "steps.csv", results.Step) for run in chosen])
    named = [table.assign(run=run.run_id[-4:]) for run, table in zip(chosen, tables, strict=True)]
    return pd.concat([table for table in named if len(table)] or named[:1])


def picture(chosen: list[Run], adapters: list[str]) -> None:
    """The loss curves: drawn again every two seconds while one of the runs goes on."""
    current = [runs.read(run.run_id) for run in chosen]
    if [run.status for run in current] != [run.status for run in chosen]:
        st.rerun(scope="app")
    table = steps(current)
    if table.empty:
        st.caption("No step has been taken yet.")
        return
    best = training.best_steps(table[table["run"] == chosen[0].run_id[-4:]])
    many, one = len(best) > loss_curves.MOST, table["adapter"].nunique() == 1
    if many:
        figure = loss_curves.highlighted(table, *training.extremes(best), adapters)
    else:
        figure = loss_curves.small_multiples(table[table["adapter"].isin(adapters)] if adapters else table)
    with st.container(key="one" if many or one else "multiples"):
        said = findings.training(best, chosen[0].status)
        st.plotly_chart(figure, alt=said, key="curves", config={"displayModeBar": False})
    reading = "Thin: training loss, smoothed. Thick: validation loss. Star: the best validation, whose weights are kept by default."
    others = " Grey: the other adapters; choose some above to see them in colour." if many else ""
    st.caption(f"{plain(findings.extremes(best))} {reading}{others}".strip())


def choose(found: list[Run]) -> tuple[list[Run], list[str]]:
    """The run, the runs laid over it, and the adapters to look at."""
    first, second, third = st.columns(3, vertical_alignment="bottom") if len(found) > 1 else (st.empty(), st.empty(), st.container())
    with first:
        run = parts.pick_run(found, "train_run")
    by_label = {parts.label(other): other for other in found if other != run}
    overlaid: list[str] = []
    if by_label:
        with second:
            overlaid = st.multiselect(
                "Overlay", list(by_label), key="overlay", bind="query-params", placeholder="no other run", max_selections=3
            )
    with third:
        adapters = st.multiselect("Adapters", names_of(run), key="train_adapter", bind="query-params", placeholder="all")
    return [run, *(by_label[label] for label in overlaid)], adapters


def names_of(run: Run) -> list[str]:
    """The adapters of a run that have taken a step."""
    return list(dict.fromkeys(parts.table(run, "steps.csv", results.Step)["adapter"]))


def looked_at(found: list[Run]) -> None:
    """All above the form, where there is a run."""
    title = st.container()
    chosen, adapters = choose(found)
    run, names = chosen[0], names_of(chosen[0])
    best = training.best_steps(parts.table(run, "steps.csv", results.Step))
    with title:
        parts.head("Train", findings.training(best, run.status))
    parts.watch("train", shown=run)
    parts.live(lambda: picture(chosen, adapters), any(each.status == "running" for each in chosen))
    train_run.actions(run)
    train_run.compare(chosen)
    if names:
        train_run.adapters(run, adapters)
        train_run.closer(run, adapters or names)


frame.enter()
trained = training.listing()
if trained:
    looked_at(trained)
elif parts.empty(
    "Train",
    "Loss and validation loss of each adapter, live, on common axes.",
    "One pass over a frozen base trains an adapter per category; the curves say when each has learned enough.",
    "Train one adapter per school",
):
    parts.submit("train", TrainConfig())

parts.doing("Train adapters")
known = {
    "data": form.datasets(),
    "categories": ["each", "pooled"],
    "target_modules": ["auto", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "base_model": form.base_models(),
}
config = form.settings("train", FIELDS, known)
if config is not None:
    form.begin({"train": "Train", "plan": "Estimate"}, config, estimated=estimate.show(config))
