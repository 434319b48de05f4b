"""Weights found by a search on validation loss: what was tried, the front of the best, the loss surface, and the form that searches."""

import pandas as pd
import streamlit as st

from core import console, merge_charts, queries, read_only
from core.config import SearchConfig
from core.console import Play
from core.results import ALL, SurfacePoint, Trial
from core.runs import Run
from core.wording import count, plain, three
from pages import form, link, merge_controls, parts


def show(names: list[str], usual: Play) -> None:
    """The newest search, and the form."""
    st.subheader("Weights found for you", anchor=False)
    found = queries.runs_with("search", "trials.csv", done=False)
    parts.watch("search")
    if found:
        run = parts.pick_run(found, "search_run")
        trials = wide(parts.table(run, "trials.csv", Trial))
        if len(trials):
            _found(run, trials)
            _surface(run)
    else:
        st.caption(
            "A search tries mixes on validation rows, without a merge per trial where the strategy is linear. It never reads test rows."
        )
    if read_only.active():
        return
    with st.expander("Search for weights"):
        _first(names, usual)
        fields = ["adapters", "strategy", "objective", "trials", "limit", "surface", "data", "system_prompt"]
        known = {"adapters": form.adapters(), "surface": st.session_state["search.adapters"], "data": form.datasets()}
        form.form("search", "Search", fields, known)


def _first(names: list[str], usual: Play) -> None:
    """What the form begins with: the adapters at hand, on the data and the system prompt that they were trained with."""
    if "search.adapters" not in st.session_state:
        st.session_state["search.adapters"] = names
        for name in ("data", "system_prompt", "max_seq_length"):
            st.session_state[f"search.{name}"] = getattr(usual, name) or ""


def wide(trials: pd.DataFrame) -> pd.DataFrame:
    """A row per mix that was tried: trial, strategy, origin, mean, worst, worst_category, pareto, weights (text)."""
    keys = ["trial", "strategy", "origin"]
    loss = trials[(trials["figure"] == "loss") & (trials["name"] == ALL)].set_index(keys)["value"].rename("mean")
    worst = trials[trials["figure"] == "worst"].set_index(keys)[["name", "value"]]
    front = trials[trials["figure"] == "pareto"].set_index(keys)["value"].rename("pareto")
    weights = trials[(trials["figure"] == "weight") & (trials["value"] != 0)]
    said = (weights["name"] + " " + weights["value"].map("{:.2f}".format)).groupby([weights[key] for key in keys]).agg(", ".join)
    table = pd.concat([loss, worst.set_axis(["worst_category", "worst"], axis=1), front, said.rename("weights")], axis=1)
    table = table.reset_index().dropna(subset=["mean", "worst"])
    return table.assign(pareto=table["pareto"] == 1, weights=table["weights"].fillna("all weights 0"))


def _found(run: Run, trials: pd.DataFrame) -> None:
    best = trials.loc[trials["mean"].idxmin()]
    said = (
        f"{count(len(trials), 'mix', 'mixes')} tried on validation rows. Lowest mean loss: {three(best['mean'])} nats per answer token "
        f"({best['strategy']}; worst category {best['worst_category']} at {three(best['worst'])}), by {best['weights']}."
    )
    if gain := run.outputs.get("gain_over_average"):
        told = gain["low"] is not None
        span = f"95 % interval {three(gain['low'])} to {three(gain['high'])}" if told else "no interval: every category has a single row"
        unclear = "" if told and gain["low"] > 0 else " No difference can be told from these rows."
        said += f" The chosen mix lies {three(gain['value'])} below 1/n each ({span}, on the rows it was tuned on).{unclear}"
    st.markdown(plain(said))
    st.plotly_chart(merge_charts.pareto(trials), alt=said, config={"displayModeBar": False}, key="pareto")
    st.caption("Each point is a mix: left is better on average, down is better for the category that fares worst.")
    table = trials.sort_values(["pareto", "mean"], ascending=[False, True])
    event = st.dataframe(
        table[["strategy", "origin", "mean", "worst", "worst_category", "weights"]].round(3),
        **{"hide_index": True, "on_select": "rerun", "selection_mode": "single-row", "height": 240, "key": "tried"},
        alt="Mixes that were tried, the best first",
    )
    chosen = table.iloc[link.row(event, "trial", [str(trial) for trial in table["trial"]])]
    parts.action(
        f"Play mix {chosen['trial']} in the console",
        key="search.play",
        help="The sliders above move to its weights. Choose another row for another mix.",
        on_click=_use,
        args=(run, int(chosen["trial"])),
    )


def _use(run: Run, trial: int) -> None:
    table = parts.table(run, "trials.csv", Trial)
    part = table[(table["trial"] == trial) & (table["figure"] == "weight")]
    config = SearchConfig(**run.config)
    by_name = dict(zip(part["name"], part["value"], strict=True))
    weights = tuple(float(by_name.get(name, 0.0)) for name in config.adapters)
    strategy = str(table[table["trial"] == trial]["strategy"].iloc[0])
    merge_controls.put(console.played(config.mix(strategy, weights)))


def _surface(run: Run) -> None:
    """The loss over two weights, where the search computed it."""
    points = parts.table(run, "surface.csv", SurfacePoint)
    if points.empty:
        return
    left, right = st.columns(2)
    strategies, categories = list(dict.fromkeys(points["strategy"])), list(dict.fromkeys(points["category"]))
    strategy = left.selectbox("Strategy", strategies, key="surface_strategy", bind="query-params") if len(strategies) > 1 else strategies[0]
    called = {ALL: "mean"}
    category = right.selectbox(
        "Category", categories, key="surface_category", bind="query-params", format_func=lambda name: called.get(name, name)
    )
    shown = points[(points["strategy"] == strategy) & (points["category"] == category)]
    low = shown.loc[shown["loss"].idxmin()]
    said = f"Lowest here: {three(low['loss'])} at {low['one']} {low['one_weight']:.2f} and {low['other']} {low['other_weight']:.2f}."
    figure = merge_charts.surface(shown, (float(low["one_weight"]), float(low["other_weight"])))
    st.plotly_chart(figure, alt=said, config={"displayModeBar": False}, key="surface")
    st.caption(plain(f"{said} The other adapters stand at the best weights that the search found."))
