"""Overview, for who opens the app to be shown something: the claim, the evidence, three answers before and after, the judges; then what
runs, how it was made, and what to do next."""

from pathlib import Path

import streamlit as st

from core import charts, findings, judging, paths, private, queries, read_only, runs, verdict_findings
from core.config import DemoConfig, ReportConfig
from core.queries import OWN
from core.report import outlook, sources
from core.results import ALL
from core.wording import count, duration, plain, seconds_between, signed, three
from pages import audit_card, cards, evaluations, form, frame, parts, verdict_tables


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
    table = evaluations.gains(found.run, found.compared)
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
    for label, row in queries.examples(found, candidate):
        st.markdown(f"**{label}** ({signed(row['gain'])} nats per token) · {plain(row['category'])} · {plain(row['question'])}")
        cards.texts(row["reference"], row["base"], row["candidate"], row["model"], key=f"example-{label}")


def judge(found: queries.Evaluation) -> None:
    """What the newest judges of these answers found, with the light of each one's audit card beside it."""
    judged = judging.runs_on(found.run)[:1]
    if not judged:
        return
    st.subheader("The judge", anchor=False)
    for each in verdict_tables.judged(judged[0]).values():
        st.markdown(plain(verdict_findings.withheld(each) if each.withheld else each.sentence))
        audit_card.light(each.light, verdict_findings.order_tested(each.figures))
    st.page_link("pages/judge.py", label="The audit, and every verdict", icon=":material/arrow_forward:")


def demo() -> None:
    """Start the demo: the whole road, small."""
    if read_only.active():
        return
    with st.expander("Run the demo yourself"):
        st.caption("Trains, merges, evaluates and judges a small cohort on the seven schools, as a job that can be watched and left.")
        form.form("demo", "Run the demo", ["seed", "name"])


def about(found: queries.Evaluation) -> str:
    """What was done, for who never saw this before."""
    base = str(found.run.config.get("base_model", "bundled"))
    dataset = Path(str(found.run.config.get("data", "a dataset"))).name
    return (
        f"A small language model ({parts.BUNDLED if base == 'bundled' else Path(base).name}) was trained on {dataset}, "
        f"{count(len(found.categories), 'subject')}, then examined on questions that were kept from it."
    )


def running() -> None:
    """Every job under way, whatever it is."""
    for verb in dict.fromkeys(run.verb for run in runs.listing() if run.status in ("queued", "running") and run.parent is None):
        parts.watch(verb)


def show(found: queries.Evaluation) -> None:
    """The claim with its evidence, top to bottom."""
    gains = evaluations.gains(found.run, found.compared)
    finding = findings.evaluation(found, gains)
    parts.head("Lyceum", finding)
    st.caption(plain(about(found)))
    running()
    if len(gains):
        figures(found)
        st.plotly_chart(charts.dumbbells(gains[gains["category"] != ALL]), alt=finding, config={"displayModeBar": False})
        examples(found)
    judge(found)
    st.subheader("How it was made", anchor=False)
    took = duration(seconds_between(found.run.started_at, found.run.finished_at))
    st.caption(f"From evaluation {parts.label(found.run)}, which took {took}. Folder: {plain(private.shown(str(paths.results())))}")
    road()
    next_steps(found)
    demo()


@st.cache_data(show_spinner=False, max_entries=8, ttl=60)
def _steps(run_id: str) -> list[str]:
    """What an evaluation suggests to do next; verdicts and votes join within a minute."""
    return outlook.steps(sources.gather(ReportConfig(evaluation=run_id)))


def next_steps(found: queries.Evaluation) -> None:
    """What to do next: what the data suggests, and where one may go."""
    st.subheader("What next", anchor=False)
    st.markdown("\n".join(f"- {plain(step)}" for step in _steps(found.run.run_id)))
    with st.container(horizontal=True):
        st.page_link("pages/share.py", label="Send it to somebody", icon=":material/ios_share:")
        st.page_link("pages/playground.py", label="Ask the models yourself", icon=":material/forum:")
        st.page_link("pages/start.py", label="Begin with your own data", icon=":material/flag:")
        st.page_link("pages/guide.py", label="What all of this means", icon=":material/menu_book:")


frame.enter()
done = queries.runs_with("evaluate", "answers.csv")
if done:
    show(evaluations.opened(done[0]))
else:
    pressed = parts.empty(
        "Lyceum",
        "One small language model, many subjects: here you will see how adapters changed its answers, by how much, and what merging cost.",
        "The demo makes all of it in minutes, on this machine, from the seven schools that ship with it.",
        "Run the demo",
    )
    if pressed:
        parts.submit("demo", DemoConfig())
    st.page_link("pages/start.py", label="Or begin with your own data", icon=":material/flag:")
    for verb in ("demo", "study", "train"):
        parts.watch(verb)
    road()
