"""Merge: what is in each merged adapter, what merging cost, and the form that bakes a mix."""

import json
from typing import Any

import streamlit as st

from core import charts, findings, paths, queries, runs
from core.queries import OWN
from core.results import ALL
from core.wording import count, percent, plain, three
from pages import form, parts

MOST = 12
"""Adapters that stand in the form unasked; with more of them, people choose."""


def info(name: str) -> dict[str, Any]:
    """run.json of a merged adapter, empty for a folder made elsewhere."""
    file = paths.merged_adapters() / paths.check_name(name, "adapter") / "run.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def evaluated(name: str) -> queries.Evaluation | None:
    """The newest evaluation that has this merged adapter."""
    for run in queries.runs_with("evaluate", "answers.csv"):
        found = queries.evaluation(run)
        if name in set(found.models["model"]):
            return found
    return None


def recipe(name: str) -> None:
    """Left: strategy, rank and weights."""
    made = info(name).get("recipe", {})
    if not made:
        st.caption("Made elsewhere: its recipe is not known.")
        return
    st.caption(f"Strategy {plain(str(made['strategy']))}, rank {made.get('rank') or 'not recorded'}")
    weights = dict(zip(made["adapters"], made["weights"], strict=True))
    st.plotly_chart(charts.weights(weights), alt=f"Weights of {name}", config={"displayModeBar": False})
    run = next((run for run in runs.listing("merge", "done") if run.outputs.get("adapter") == f"merged_adapters/{name}"), None)
    if run and "energy_kept" in run.outputs:
        kept, error = run.outputs["energy_kept"], run.outputs.get("relative_error")
        st.metric(
            "Energy of the exact sum that is kept", percent(kept), help="Sum of squares of the merged delta over that of the exact sum."
        )
        st.caption(f"Relative error against the exact sum: {three(error)}" if error is not None else "")


def cost(found: queries.Evaluation, name: str, finding: str) -> None:
    """Right: base, own adapter and merge on every category."""
    table = parts.gains(found.run.run_id, tuple(model for model in found.compared if model in (OWN, name)))
    st.plotly_chart(charts.dumbbells(table[table["category"] != ALL]), alt=finding, config={"displayModeBar": False})
    st.caption(f"From evaluation {parts.label(found.run)}. Whiskers: 95 % interval of the drop from base. ")


def weights() -> tuple[list[str], tuple[float, ...]]:
    """Which adapters to merge, and a slider for each: 0 is off. No weights stand for 1/n each."""
    st.session_state.setdefault("merge.adapters", form.adapters() if len(form.adapters()) <= MOST else [])
    chosen = st.multiselect(
        "Adapters",
        form.adapters(),
        key="merge.adapters",
        accept_new_options=True,
        persist_state="session",
        help="Names under adapters/, or paths of PEFT folders.",
    )
    if not chosen:
        st.caption("Choose the adapters to merge.")
        return [], ()
    even, values = round(1 / len(chosen), 2), []
    for start in range(0, len(chosen), 3):
        for column, name in zip(st.columns(3), chosen[start : start + 3], strict=False):
            help_text = "Weight in the mix: 0 is off, 1 is all of it."
            key = f"weight.{name}"
            values.append(column.slider(plain(name), -1.0, 2.0, even, 0.01, key=key, help=help_text, persist_state="session"))
    untouched = set(values) == {even}  # 1/n exactly, which a slider's two decimals can't say
    return chosen, () if untouched else tuple(values)


parts.enter()
merged = form.merged_adapters()
if merged:
    title = st.container()
    name = st.selectbox("Merged adapter", merged, key="merged", bind="query-params") or merged[0]
    found = evaluated(name)
    if found:
        sentence = findings.merged(parts.gains(found.run.run_id, tuple(found.compared)), name)
    else:
        sentence = f"{count(len(merged), 'merged adapter')} made; {name} has not been evaluated yet, so what merging cost is not known."
    with title:
        parts.head("Merge", sentence)
    parts.watch("merge")
    left, right = st.columns([2, 3])
    with left:
        recipe(name)
    with right:
        if found:
            cost(found, name, sentence)
        else:
            st.page_link("pages/evaluate.py", label="Evaluate it", icon=":material/arrow_forward:")
else:
    page = None if form.adapters() else "train"
    shows = "Weights of a mix, its distance from the exact weighted sum, and the loss per category of base, own adapter and mix."
    why = "A merge is one model for all subjects; it costs something in each, and this page says how much."
    if form.adapters():
        parts.head("Merge", f"{shows} {why}")
    else:
        parts.empty("Merge", shows, why, "Train adapters first", page)
    parts.watch("merge")

if form.adapters():
    st.subheader("Bake a mix", anchor=False)
    adapters, shares = weights()
    if adapters:
        form.form("merge", "Bake this mix", ["strategy", "rank", "name"], fixed={"adapters": tuple(adapters), "weights": shares})
