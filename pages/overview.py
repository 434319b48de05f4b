"""Overview: the road from data to verdicts, the finding, and three answers before and after."""

import streamlit as st

from core import charts, findings, paths, queries, runs, verdict_findings
from core.config import DemoConfig
from core.queries import OWN
from core.results import ALL
from core.wording import count, duration, plain, seconds_between, signed, three
from pages import audit_card, cards, form, parts, verdict_tables


def road() -> None:
    """Data, adapters, merges, verdicts: how many, and how they stand."""
    stages = {
        "data": ("Data", count(len(form.datasets()), "file")),
        "train": ("Adapters", count(len(form.adapters()), "adapter")),
        "merge": ("Merges", count(len(form.merged_adapters()), "merged adapter")),
        "evaluate": ("Evaluations", count(len(runs.listing("evaluate", "done")), "finished run")),
        "judge": ("Verdicts", count(len(runs.listing("judge", "done")), "finished run")),
    }
    row = st.container(horizontal=True)
    for verb, (title, what) in stages.items():
        with row.container(border=True, width=165, gap="xsmall"):
            st.page_link(f"pages/{verb}.py", label=title, icon=":material/arrow_forward:", icon_position="right")
            newest = runs.listing(verb)[:1]
            st.caption(what)
            if newest:
                parts.chip(newest[0].status)


def figures(found: queries.Evaluation) -> None:
    """Headline figures with their intervals."""
    table = parts.gains(found.run.run_id, tuple(found.compared))
    whole = table[table["category"] == ALL]
    columns = st.columns(min(4, len(whole)) or 1)
    for column, row in zip(columns, whole.head(4).itertuples(), strict=False):
        name = "Own adapters" if row.model == OWN else row.model
        span = f"{signed(-row.high)} to {signed(-row.low)}"
        change = signed(-row.drop).replace("−", "-")
        title = f"Perplexity: {plain(name)}"
        column.metric(title, three(row.value), change, delta_color="inverse", delta_description=span, border=True)
    st.caption(
        f"Against {three(whole['base'].iloc[0])} of the base on {count(int(whole['n'].iloc[0]), 'held-out question')}; 95 % intervals."
    )


def examples(found: queries.Evaluation) -> None:
    """Best, median and worst answer by the gain in loss per token on the reference."""
    candidate = found.compared[0]
    st.subheader("Before and after", anchor=False)
    st.caption("Chosen by rule: the largest, the median and the smallest gain in nats per token of the reference answer.")
    for label, row in queries.best_median_worst(queries.side_by_side(found, candidate)):
        st.markdown(f"**{label}** ({signed(row['gain'])} nats per token) · {plain(row['category'])} · {plain(row['question'])}")
        cards.texts(row["reference"], row["base"], row["candidate"], row["model"], key=f"example-{label}")


def judge() -> None:
    """What the newest judged run found, with the light of each judge's audit card beside it."""
    judged = verdict_tables.runs()[:1]
    if not judged:
        return
    st.subheader("The judge", anchor=False)
    for each in verdict_tables.judged(judged[0]).values():
        st.markdown(plain(verdict_findings.withheld(each) if each.withheld else each.sentence))
        audit_card.light(each.light, verdict_findings.order_tested(each.figures))
    st.page_link("pages/judge.py", label="The audit, and every verdict", icon=":material/arrow_forward:")


def demo() -> None:
    """Start the demo: the whole road, small."""
    with st.expander("Run the demo yourself"):
        st.caption("Trains, merges, evaluates and judges a small cohort on the seven schools, as a job that can be watched and left.")
        form.form("demo", "Run the demo", ["seed", "name"])


parts.enter()
evaluations = queries.runs_with("evaluate", "answers.csv")
if not evaluations:
    pressed = parts.empty(
        "Lyceum",
        "One small language model, many subjects: here you will see how adapters changed its answers, by how much, and what merging cost.",
        "The demo makes all of it in minutes, on this machine, from the seven schools that ship with it.",
        "Run the demo",
    )
    if pressed:
        parts.submit("demo", DemoConfig())
    for verb in ("demo", "train"):
        parts.watch(verb)
    road()
else:
    evaluation = queries.evaluation(evaluations[0])
    gains = parts.gains(evaluation.run.run_id, tuple(evaluation.compared))
    finding = findings.evaluation(evaluation, gains)
    parts.head("Lyceum", finding)
    parts.watch("demo")
    road()
    if len(gains):
        figures(evaluation)
        st.plotly_chart(charts.dumbbells(gains[gains["category"] != ALL]), alt=finding, config={"displayModeBar": False})
        examples(evaluation)
    judge()
    took = duration(seconds_between(evaluation.run.started_at, evaluation.run.finished_at))
    st.caption(f"From evaluation {parts.label(evaluation.run)}, which took {took}. Folder: {plain(str(paths.results()))}")
    demo()
