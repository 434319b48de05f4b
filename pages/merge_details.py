"""A merged adapter: its recipe, what merging cost, how far it is from the exact sum, where its adapters conflict, before and after."""

from typing import Any

import pandas as pd
import streamlit as st

from core import charts, console, findings, merge_charts, paths, queries, read_only, results, runs
from core.console import Play, Shelf
from core.merge import STRATEGIES
from core.queries import OWN
from core.results import ALL, Cosine, Fidelity, Model
from core.wording import percent, plain, three
from pages import baked_answers, evaluations, form, parts

CONFLICTING = 5
HELP = {
    "relative_error": "Norm of the merge less the exact weighted sum, over the norm of the exact sum. 0 %: they are the same.",
    "norm_ratio": "Norm of the merge over that of the exact sum: below 1 it is weaker, above 1 stronger.",
    "energy_kept": "Share of the strategy's own result (sum of squares) that is left at the merged adapter's rank.",
    "sign_conflict": "Share of the entries in which two weighted deltas pull in opposite directions.",
    "cancelled": "How much of the deltas' size vanished when they were added: 0 is none, 1 is all.",
}


def show(merged: list[str], shelf: Shelf, usual: Play) -> None:
    """One merged adapter, the newest unless another is chosen."""
    st.subheader("Merged adapters", anchor=False)
    _to_the_fresh(merged)
    name = st.selectbox("Merged adapter", merged, key="merged", bind="query-params") or merged[0]
    left, right = st.columns([2, 3])
    with left:
        recipe(name)
    with right:
        cost(name)
    fidelity(name)
    parts.watch("export")
    if read_only.active():
        return
    baked_answers.show(name, shelf, usual)
    with st.expander("Write it into the base model's weights"):
        st.caption("A whole model, which transformers and vLLM load without PEFT. Whole models are compared on the page Evaluate.")
        form.form("export", "Write a whole model", ["base", "dtype", "name"], fixed={"model": name})


def _to_the_fresh(merged: list[str]) -> None:
    """Turn to the merge that this session baked, once it is there."""
    run_id = st.session_state.get("submitted")
    done = next((run for run in runs.listing("merge", "done") if run.run_id == run_id), None)
    name = str(done.outputs.get("adapter", "")).rpartition("/")[2] if done else ""
    if name in merged and st.session_state.get("merge.fresh") != run_id:
        st.session_state.update({"merge.fresh": run_id, "merged": name, f"before-and-after.{name}": True})


def evaluated(name: str) -> queries.Evaluation | None:
    """The newest evaluation that has this merged adapter."""
    for run in queries.runs_with("evaluate", "answers.csv"):
        if name in set(parts.table(run, "models.csv", Model)["model"]):
            return evaluations.opened(run)
    return None


def recipe(name: str) -> None:
    """Strategy, rank and weights."""
    info = console.info(paths.merged_adapters() / paths.check_name(name, "adapter"))
    made: dict[str, Any] = info.get("recipe", {})
    if not made:
        st.caption("Made elsewhere: its recipe is not known.")
        return
    strategy = STRATEGIES[made["strategy"]].label if made["strategy"] in STRATEGIES else made["strategy"]
    rank = made.get("made_rank") or made.get("rank") or "not recorded"
    others = [f"{key.replace('_', ' ')} {made[key]}" for key in ("density", "ties_lambda", "space") if made.get(key) not in (None, "delta")]
    st.caption(plain(f"{strategy}; rank {rank}{''.join(f', {each}' for each in others)}"))
    weights = dict(zip(made["adapters"], made["weights"], strict=True))
    st.plotly_chart(charts.weights(weights), alt=f"Weights of {name}", config={"displayModeBar": False}, key="recipe")


def cost(name: str) -> None:
    """Base, own adapter and merge on every category."""
    found = evaluated(name)
    if not found:
        st.caption("It has not been evaluated yet, so what merging cost is not known.")
        st.page_link("pages/evaluate.py", label="Evaluate it", icon=":material/arrow_forward:")
        return
    table = evaluations.gains(found.run, [model for model in found.compared if model in (OWN, name)])
    said = findings.merged(evaluations.gains(found.run, found.compared), name)
    st.plotly_chart(charts.dumbbells(table[table["category"] != ALL]), alt=said, config={"displayModeBar": False}, key="cost")
    st.caption(f"From evaluation {parts.label(found.run)}. Whiskers: 95 % interval of the drop from base.")


def fidelity(name: str) -> None:
    """What the merge did to its adapters, over all layers and layer by layer."""
    folder = paths.merged_adapters() / name
    table, alike = _table(folder / "fidelity.csv", Fidelity), _table(folder / "cosines.csv", Cosine)
    if table is None:
        st.caption("Its fidelity was not measured: it was made elsewhere, or before merges did so. Merge again to see it.")
        return
    _figures(table[table["layer"] == ALL].set_index("measure")["value"].to_dict())
    left, right = st.columns(2)
    with left:
        _layers(table)
    with right:
        if alike is not None and len(alike):
            st.markdown("**How alike the adapters are**")
            said = "Cosine of each pair of deltas over all layers: 1 pull the same way, 0 have nothing in common, -1 pull apart."
            with st.container(key="cosines"):
                st.plotly_chart(merge_charts.cosines(alike), alt=said, config={"displayModeBar": False}, key="cosine")
            st.caption(plain(said))


def _figures(overall: dict[str, float]) -> None:
    names = ("relative_error", "norm_ratio", "energy_kept", "sign_conflict")
    for column, measure in zip(st.columns(4), names, strict=True):
        value = overall.get(measure)
        said = three(value) if measure == "norm_ratio" else percent(value)
        column.metric(merge_charts.MEASURES[measure], said, help=HELP[measure], border=True)


def _layers(table: pd.DataFrame) -> None:
    known = [measure for measure in ("sign_conflict", "cancelled", "relative_error", "energy_kept") if measure in set(table["measure"])]
    st.markdown("**Layer by layer**")
    measure = st.segmented_control(
        "Measure",
        known,
        default=known[0],
        key="measure",
        bind="query-params",
        required=True,
        format_func=merge_charts.MEASURES.__getitem__,
        label_visibility="collapsed",
        wrap=True,
    )
    measure = measure if measure in known else known[0]
    said = f"{merge_charts.MEASURES[measure]} by layer. {HELP[measure]}"
    st.plotly_chart(merge_charts.by_layer(table, measure), alt=said, config={"displayModeBar": False}, key="by_layer")
    st.caption(plain(HELP[measure]))
    worst = table[(table["measure"] == "sign_conflict") & (table["layer"] != ALL)].nlargest(CONFLICTING, "value")
    if len(worst) and worst["value"].max() > 0:
        listed = ", ".join(f"{row.layer.removeprefix('model.layers.')} ({percent(row.value)})" for row in worst.itertuples())
        st.caption(f"Adapters conflict most in: {plain(listed)}.")
    parts.download("fidelity.csv", table, "Fidelity of every layer (CSV)")


def _table(file: Any, row_type: type[results.Row]) -> pd.DataFrame | None:
    return _read(str(file), row_type, file.stat().st_mtime_ns) if file.exists() else None


@st.cache_data(show_spinner=False, max_entries=16)
def _read(path: str, row_type: type[results.Row], changed: int) -> pd.DataFrame:
    from pathlib import Path

    return results.read(Path(path), row_type)
