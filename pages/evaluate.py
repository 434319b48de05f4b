"""Evaluate: the matrix of categories and models, answers side by side, and downloads."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core import charts, exports, findings, model_findings, private, queries, results
from core.queries import OWN, Evaluation
from core.results import ALL, GENERAL, Answer, Flag, Row
from core.wording import plain, three
from pages import evaluate_answers, evaluations, form, frame, paging, parts

FIELDS = ["data", "models", "base_model", "system_prompt", "split", "limit", "metrics", "encoder", "max_new_tokens", "engine"]


def picture(found: Evaluation, finding: str) -> None:
    """The matrix for one metric, and what it says of each model."""
    judged = evaluations.win_rates(found.run)
    metrics = [*dict.fromkeys(found.scores["metric"]), *judged]
    if not metrics:
        st.caption("This evaluation has no scores: no metric was chosen.")
        return
    metric = st.selectbox("Metric", metrics, key="metric", bind="query-params", width=420) or metrics[0]
    table = judged[metric] if metric in judged else evaluations.matrix(found.run, metric)
    with st.container(key="matrix"):
        figure = charts.matrix(
            table, metric, list(found.models["model"]), [*found.categories, ALL, *([GENERAL] if len(found.general) else [])]
        )
        st.plotly_chart(figure, alt=finding, config={"displayModeBar": False})
    st.caption(plain(model_findings.legend(found, metric, judged=metric in judged)))
    if withheld := [reason for reason in dict.fromkeys(table["reason"]) if reason.startswith("withheld")]:
        st.warning(f"These figures are {plain(withheld[0])}. See the Judge page.", icon=":material/block:")
    if said := model_findings.sentences(found, metric):
        with st.expander("What each model gained, harmed and cost", expanded=True):
            st.markdown("\n".join(f"- **{'Own adapters' if name == OWN else plain(name)}**: {plain(each)}" for name, each in said.items()))
    figures(found, metric, table)


def figures(found: Evaluation, metric: str, table: pd.DataFrame) -> None:
    """All numbers behind the matrix, and what they depend on."""
    with st.expander("All figures with intervals"):
        columns = ["category", "model", "metric", "value", "low", "high", "n", "against", "reason"]
        shown = table[columns].assign(**{name: [three(value) for value in table[name]] for name in ("value", "low", "high")})
        st.dataframe(shown, hide_index=True, alt=f"{metric} of every model on every category")
        st.caption(f"Signature: {plain(private.shown(str(table['signature'].iloc[0])))}")
        with st.container(horizontal=True):
            parts.download("scores.csv", found.scores, "Download all scores as CSV")
            if len(found.comparisons):
                parts.download("comparisons.csv", found.comparisons)


def routes(found: Evaluation) -> None:
    """Which adapters each question used, route by route."""
    every = parts.table(found.run, "route_weights.csv", results.RouteWeight)
    if every.empty:
        return
    with st.expander("Routes: which adapters each question used"):
        names = list(dict.fromkeys(every["model"]))
        name = paging.choice(st, "Route", "route", names, key="route_page")
        weights = every[every["model"] == name]
        sentence = evaluations.route(found.run, name)
        st.markdown(plain(sentence))
        st.plotly_chart(charts.routed(weights), alt=sentence, config={"displayModeBar": False})
        shown = paging.part(queries.by_question(weights), "route_page")
        st.dataframe(shown.round(3), hide_index=True, height=260, key="routed", alt="Weight of each adapter for each question")
        parts.download("route_weights.csv", lambda: every)


def downloads(found: Evaluation) -> None:
    """answers.csv, and one file per model and category under the second source's names."""
    with st.expander("Downloads"):
        for name, row_type in (("answers.csv", Answer), ("flags.csv", Flag)):
            taken(found.run.path / name, row_type)
        files = exports.answers(found)
        name = st.selectbox("Question, answer and prediction of", list(files), key="export", bind="query-params")
        parts.download(name, lambda: files[name], key="download-export")


def taken(file: Path, row_type: type[Row]) -> None:
    """A table with rows, without those about other matters; one that is too large stays where it is."""

    def rows() -> pd.DataFrame:
        table = results.read(file, row_type)
        return table if row_type is Flag else table[table["category"] != GENERAL]

    if not file.exists():
        return
    if said := parts.too_large(file):
        st.caption(f"{plain(said)}.")
    else:
        parts.download(file.name, rows)


frame.enter()
done = queries.runs_with("evaluate", "answers.csv")
if done:
    title = st.container()
    run = parts.pick_run(done, "evaluation")
    evaluation = evaluations.opened(run)
    sentence = findings.evaluation(evaluation, evaluations.gains(run, evaluation.compared))
    with title:
        parts.head("Evaluate", sentence)
    parts.watch("evaluate")
    picture(evaluation, sentence)
    routes(evaluation)
    evaluate_answers.counts(evaluation)
    st.fragment(evaluate_answers.show)(evaluation)  # another filter draws this part anew, and no chart
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

parts.doing("Evaluate models")
models = ["all", "base", *form.adapters(), *form.merged_adapters(), *form.routes(), *form.whole_models()]
known = {"data": form.datasets(), "models": models, "base_model": form.base_models()}
form.form("evaluate", "Evaluate", FIELDS, known)

if form.adapters():
    parts.doing("Make a route")
    st.caption("In place of one merge for everything: a mix of adapters for each question. It then stands among the models above.")
    parts.watch("route")
    choices = {"adapters": [*form.adapters(), *form.merged_adapters()], "data": form.datasets()}
    form.form("route", "Make a route", ["adapters", "router", "data", "name"], choices)
