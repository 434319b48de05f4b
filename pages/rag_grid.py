"""The grid of generators and pipelines, and whether RAG or tuning mended the base model's answers, question by question."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core import queries, rag_charts, rag_findings, rag_tables
from core.rag_tables import OUTCOMES, RagRun
from core.results import ALL
from core.wording import count, plain, three
from pages import cards, paging, parts

ANY = "all"


def picture(found: RagRun, finding: str) -> None:
    """The grid for one metric, on all questions or one category."""
    left, right = st.columns([2, 1])
    metric = left.selectbox("Metric", found.metrics, key="rag_metric", bind="query-params") or found.metrics[0]
    category = right.selectbox("Category", [ALL, *found.evaluation.categories], key="rag_category", bind="query-params") or ALL
    every = rag_tables.grid(found, metric)
    table = every[every["category"] == category]
    with st.container(key="matrix"):
        figure = rag_charts.grid(table, metric, found.generators, found.answered, found.evaluation.baseline)
        st.plotly_chart(figure, alt=finding, config={"displayModeBar": False})
    st.caption(plain(legend(found, metric, category)))
    other = rag_findings.answered(found, metric) if metric != found.metrics[0] else ""
    for said in filter(None, (other, rag_findings.together(found, metric))):
        st.markdown(plain(said))
    figures(found, metric, every)


def legend(found: RagRun, metric: str, category: str) -> str:
    """How to read the grid."""
    if queries.is_neither(metric):
        better = "Neither more nor less is better."
    else:
        how = "Lower" if queries.lower_is_better(metric) else "Higher"
        better = f"{how} is better. Green-blue: better than {found.evaluation.baseline}, orange: worse."
    tests = found.evaluation.comparisons
    if tests[(tests["metric"] == metric) & (tests["category"] == category)].empty:
        return f"{better} Differences were not tested here: hold the intervals beside each other."
    return (
        f"{better} ○ the 95 % interval of the paired difference excludes zero; ● also when held against all cells of the metric at once "
        "(Holm, p below 0.05). The best of several is chosen after the fact, which flatters it."
    )


def figures(found: RagRun, metric: str, table: pd.DataFrame) -> None:
    """All numbers behind the grid, and what they depend on."""
    with st.expander("All figures with intervals"):
        columns = ["category", "generator", "pipeline", "metric", "value", "low", "high", "n", "against", "reason"]
        shown = table[columns].assign(**{name: [three(value) for value in table[name]] for name in ("value", "low", "high")})
        st.dataframe(shown, hide_index=True, alt=f"{metric} of every cell on every category")
        st.caption(f"Signature: {plain(str(table['signature'].iloc[0]))}")
        with st.container(horizontal=True):
            for name, data in (("scores.csv", found.evaluation.scores), ("comparisons.csv", found.evaluation.comparisons)):
                parts.download(name, data)


def fixed(found: RagRun) -> None:
    """What mended the base model's answers: the shares, and every question with its four answers."""
    metrics = list(dict.fromkeys(found.fixes["metric"]))
    metric = st.selectbox("By", metrics, key="fix_metric", bind="query-params", width=300) or metrics[0]
    counted = rag_tables.outcomes(found, metric)
    row = st.columns(3)
    generator = _choose(row[0], "Tuned", counted["generator"], "fix_generator")
    counted = counted[counted["generator"] == generator]
    pipeline = _choose(row[1], "Pipeline", counted["pipeline"], "fix_pipeline", named=True)
    outcome = row[2].selectbox(
        "Outcome", [ANY, *OUTCOMES], format_func=lambda name: OUTCOMES.get(name, name), key="fix_outcome", bind="query-params"
    )
    sentence = rag_findings.fixed(found, metric, generator, pipeline)
    st.markdown(plain(sentence))
    st.plotly_chart(rag_charts.fixed(counted), alt=sentence, config={"displayModeBar": False})
    st.caption(
        "An answer is mended when its score exceeds that of the base model without passages by more than a fifth of the metric's standard "
        "deviation over all answers: a small effect. Either one: each alone mends it. Made worse: both together, and nothing mends it."
    )
    mine = found.fixes[(found.fixes["metric"] == metric) & (found.fixes["generator"] == generator) & (found.fixes["pipeline"] == pipeline)]
    _by_question(found, mine if outcome in (None, ANY) else mine[mine["outcome"] == outcome], generator, pipeline)


def _choose(column: st.delta_generator.DeltaGenerator, said: str, values: pd.Series, key: str, named: bool = False) -> str:
    names = list(dict.fromkeys(values))
    forget_unknown(key, names)
    shown = rag_charts.label if named else str
    return str(column.selectbox(said, names, format_func=shown, key=key, bind="query-params") or names[0])


def forget_unknown(key: str, names: Sequence[str]) -> None:
    """Let go of a choice that this comparison doesn't offer."""
    if st.session_state.get(key) not in names:
        st.session_state.pop(key, None)


def _by_question(found: RagRun, mine: pd.DataFrame, generator: str, pipeline: str) -> None:
    """The questions of one outcome; the chosen one with all four answers."""
    st.caption(f"{count(len(mine), 'question')}. Choose a row.")
    if mine.empty:
        return
    asked = found.questions[["question", "answer", "category"]]
    table = mine.join(asked, on="question_id").reset_index(drop=True)
    shown = table[["category", "question", "outcome", "neither", "tuning", "rag", "both"]].assign(outcome=table["outcome"].map(OUTCOMES))
    page, table = paging.part(shown, "fixes_page"), table.set_index("question_id", drop=False)
    ids = [str(table.index[place]) for place in page.index]
    looks = {"height": 240, "key": f"fixes-{hash(tuple(ids))}", "alt": "Outcome by question"}
    chosen = table.loc[paging.picked(page.round(3), "rag_question", ids, table.index.__contains__, **looks)]
    st.text(chosen["question"])
    base = found.generators[0]
    four = ((base, "none"), (generator, "none"), (base, pipeline), (generator, pipeline))
    texts = [_answer(found, *cell, chosen["question_id"]) for cell in four]
    cards.texts(chosen["answer"], texts[0], texts[1], f"{generator}, no RAG", key="fix-tuning", base_name=f"{base}, no RAG")
    with_passages = rag_charts.label(pipeline)
    cards.texts(chosen["answer"], texts[2], texts[3], f"{generator}, {with_passages}", key="fix-rag", base_name=f"{base}, {with_passages}")
    parts.download("fixes.csv", found.fixes)


def _answer(found: RagRun, generator: str, pipeline: str, question_id: str) -> str:
    answer = rag_tables.answer_of(found, generator, pipeline, question_id)
    return "" if answer is None else str(answer["prediction"])
