"""Evaluate: the matrix of categories and models, answers side by side, and downloads."""

import pandas as pd
import streamlit as st

from core import charts, exports, findings, queries, results
from core.queries import OWN, Evaluation
from core.results import ALL, GENERAL
from core.wording import count, plain, three
from pages import cards, form, parts

FIELDS = ["data", "models", "base_model", "system_prompt", "split", "limit", "metrics", "encoder", "max_new_tokens"]


def picture(found: Evaluation, finding: str) -> None:
    """The matrix for one metric."""
    metrics = list(dict.fromkeys(found.scores["metric"]))
    if not metrics:
        st.caption("This evaluation has no scores: no metric was chosen.")
        return
    metric = st.segmented_control("Metric", metrics, default=metrics[0], key="metric", bind="query-params", required=True) or metrics[0]
    table = parts.matrix(found.run.run_id, metric)
    with st.container(key="matrix"):
        figure = charts.matrix(
            table, metric, list(found.models["model"]), [*found.categories, ALL, *([GENERAL] if len(found.general) else [])]
        )
        st.plotly_chart(figure, alt=finding, config={"displayModeBar": False})
    better = "Lower" if queries.lower_is_better(metric) else "Higher"
    how = "the paired bootstrap interval of the difference excludes zero" if metric == "perplexity" else "the 95 % intervals don't overlap"
    st.caption(
        f"{better} is better. Green-blue: better than {plain(found.baseline)}, orange: worse. ● {how}. Signature: "
        f"{plain(str(table['signature'].iloc[0]))}"
    )
    if len(found.general):
        st.caption(plain(f"{GENERAL}: questions about other matters. What is worse than {found.baseline} there was forgotten."))
    with st.expander("All figures with intervals"):
        columns = ["category", "model", "metric", "value", "low", "high", "n", "reason"]
        shown = table[columns].assign(**{name: [three(value) for value in table[name]] for name in ("value", "low", "high")})
        st.dataframe(shown, hide_index=True, alt=f"{metric} of every model on every category")
        parts.download("scores.csv", found.scores, "Download all scores as CSV")


def routes(found: Evaluation) -> None:
    """Which adapters each question used, route by route."""
    every = parts.table(found.run, "route_weights.csv", results.RouteWeight)
    if every.empty:
        return
    with st.expander("Routes: which adapters each question used"):
        names = list(dict.fromkeys(every["model"]))
        name = st.selectbox("Route", names, key="route", bind="query-params") or names[0]
        weights = every[every["model"] == name]
        sentence = findings.route(found, name, queries.led_to_own(weights))
        st.markdown(plain(sentence))
        st.plotly_chart(charts.routed(weights), alt=sentence, config={"displayModeBar": False})
        shown = queries.by_question(weights)
        st.dataframe(shown.round(3), hide_index=True, height=260, key="routed", alt="Weight of each adapter for each question")
        parts.download("route_weights.csv", every)


def answers(found: Evaluation) -> None:
    """Reference, base and candidate to the same question."""
    st.subheader("Answers side by side", anchor=False)
    row = st.columns(4, vertical_alignment="bottom")
    candidates = list(dict.fromkeys([*found.compared, *(m for m in found.models["model"] if m != found.baseline)]))
    if not candidates:
        st.caption("Only one model was evaluated, so there is nothing to set beside it.")
        return
    naming = {OWN: "own adapter of the category"}
    model = (
        row[0].selectbox("Model", candidates, format_func=lambda name: naming.get(name, name), key="model", bind="query-params")
        or candidates[0]
    )
    category = row[1].selectbox("Category", ["all", *found.categories], key="category", bind="query-params")
    order = row[2].selectbox("Order", ["file", "largest gain", "smallest gain"], key="order", bind="query-params")
    text = row[3].text_input("Contains", key="contains", bind="query-params", placeholder="text in question or answer")
    pairs = filtered(queries.side_by_side(found, model), category or "all", order or "file", text or "")
    st.caption(f"{count(len(pairs), 'question')}. Gain: how many nats per token less the reference costs than with the base. Choose a row.")
    if pairs.empty:
        return
    shown = pairs.assign(gain=pairs["gain"].round(3))[["category", "question", "gain", "reference", "base", "candidate"]]
    event = st.dataframe(
        shown, hide_index=True, on_select="rerun", selection_mode="single-row", height=260, key="pairs", alt="Answers side by side"
    )
    chosen = event["selection"]["rows"]
    pair = pairs.iloc[chosen[0] if chosen and chosen[0] < len(pairs) else 0]
    st.text(pair["question"])
    mark = st.toggle("Mark words shared with the reference", key="mark", bind="query-params")
    cards.texts(pair["reference"], pair["base"], pair["candidate"], pair["model"], key="pair", mark=mark)


def filtered(pairs: pd.DataFrame, category: str, order: str, text: str) -> pd.DataFrame:
    """Pairs of one category that contain a text, in an order."""
    if category != "all":
        pairs = pairs[pairs["category"] == category]
    if text:
        columns = pairs[["question", "reference", "base", "candidate"]]
        pairs = pairs[columns.apply(lambda column: column.str.contains(text, case=False, regex=False)).any(axis=1)]
    return pairs if order == "file" else pairs.sort_values("gain", ascending=order == "smallest gain", kind="stable")


def downloads(found: Evaluation) -> None:
    """answers.csv, and one file per model and category under the second source's names."""
    with st.expander("Downloads"):
        parts.download("answers.csv", found.answers)
        files = exports.answers(found)
        name = st.selectbox("Question, answer and prediction of", list(files), key="export")
        parts.download(name, files[name], key="download-export")


parts.enter()
evaluations = queries.runs_with("evaluate", "answers.csv")
if evaluations:
    title = st.container()
    run = parts.pick_run(evaluations, "evaluation")
    evaluation = queries.evaluation(run)
    sentence = findings.evaluation(evaluation, parts.gains(run.run_id, tuple(evaluation.compared)))
    with title:
        parts.head("Evaluate", sentence)
    parts.watch("evaluate")
    picture(evaluation, sentence)
    routes(evaluation)
    answers(evaluation)
    downloads(evaluation)
else:
    parts.empty(
        "Evaluate",
        "A matrix of categories and models with intervals, and every answer beside its reference and the base's.",
        "All models answer the same held-out questions, so what specialising gained and what it harmed can be seen.",
        "Train adapters first" if not form.adapters() else "See the adapters",
        "train",
    )
    parts.watch("evaluate")

st.subheader("Evaluate models", anchor=False)
models = ["all", "base", *form.adapters(), *form.merged_adapters(), *form.routes(), *form.whole_models()]
known = {"data": form.datasets(), "models": models, "base_model": form.base_models()}
form.form("evaluate", "Evaluate", FIELDS, known)

if form.adapters():
    st.subheader("Make a route", anchor=False)
    st.caption("In place of one merge for everything: a mix of adapters for each question. It then stands among the models above.")
    parts.watch("route")
    choices = {"adapters": [*form.adapters(), *form.merged_adapters()], "data": form.datasets()}
    form.form("route", "Make a route", ["adapters", "router", "data", "name"], choices)
