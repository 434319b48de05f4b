"""A typed question to a folder of documents: what each pipeline finds, and the answers as they are written, side by side."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st
from pydantic import ValidationError

from core import console, paths, rag_charts, rag_tables
from core.config import IndexConfig, RagConfig
from core.errors import UserError
from core.rag import NONE, PIPELINES
from core.runs import Run
from core.serve import client
from core.serve.resident import Engine
from core.wording import count, plain, three
from pages import engine, form, playback, rag_cards
from pages.rag_cards import Column

SLOT = "rag.answers"
TICK = 0.3
"""Seconds between two looks at what is being written."""
SHIPPED = "data/rag/wisdom_docs"
BASE = "base"
FIRST = (NONE, "dense", "bm25", "hybrid")
"""Pipelines that answer unless others are chosen."""
KEPT = (*IndexConfig.model_fields, "candidates", "reranker", "top_k")
"""Settings of a comparison that a question to its documents is asked with."""
WHY = "It keeps the base model in memory, and answers a question with what each pipeline finds in your documents."


@dataclass(frozen=True)
class Answer:
    """One pipeline, as far as it has come."""

    passages: list[dict[str, Any]] = field(default_factory=list)
    seconds: float | None = None
    """Of the search; None while it searches."""
    tokens: int = 0
    text: str = ""
    state: str = "searches"
    said: str = ""


@st.fragment
def box(run: Run | None) -> None:
    """The question, what it is asked with, and the answers; typing or answering reruns this part of the page alone."""
    sent = _controls(run)
    found = engine.find()
    if found is None:
        engine.start(str(run.config.get("base_model", "bundled")) if run else "bundled", WHY)
        return
    if sent:
        st.session_state["rag.sent"] = sent
        playback.clear(SLOT)
    if asked := st.session_state.get("rag.sent"):
        _play(found, *asked)
        (_ticking if playback.going((SLOT,)) else _still)(asked[0])
    else:
        st.caption("The first question to a folder makes its index, which is kept; later ones are searched at once.")


def _controls(run: Run | None) -> tuple[RagConfig, str] | None:
    """The form; returns what to ask and who answers once it was sent and can be asked."""
    with st.form("ask", border=False):
        question = st.text_input("Question", key="ask.question", bind="query-params", placeholder="What do you want to know?")
        row = st.columns([2, 3, 2])
        known = _folders()
        usual = str(run.config.get("docs_dir")) if run else SHIPPED
        first = known.index(usual) if usual in known else 0
        docs = row[0].selectbox(
            "Documents",
            known,
            index=first,
            key="ask.docs",
            bind="query-params",
            accept_new_options=True,
            help="A folder, or a corpus.jsonl.",
        )
        pipelines = row[1].multiselect(
            "Pipelines", list(PIPELINES), list(FIRST), format_func=rag_charts.label, key="ask.pipelines", bind="query-params"
        )
        models = [BASE, *form.adapters(), *form.merged_adapters()]
        who = row[2].selectbox("Who answers", models, key="ask.model", bind="query-params", help="An adapter answers at full strength.")
        row = st.columns([1, 1, 3], vertical_alignment="bottom")
        top_k = row[0].number_input(
            "Passages to read", 1, 20, int(run.config.get("top_k") or 3) if run else 3, key="ask.top_k", bind="query-params"
        )
        longest = row[1].number_input("Longest answer in tokens", 1, 1024, 96, step=16, key="ask.longest", bind="query-params")
        pressed = row[2].form_submit_button("Ask", type="primary")
    if not pressed:
        return None
    if not question.strip() or not pipelines:
        st.info("Type a question, and choose a pipeline.")
        return None
    wanted = {"question": question.strip(), "pipelines": pipelines, "top_k": int(top_k), "max_new_tokens": int(longest)}
    place = {"docs_dir": str(paths.data_file(str(docs)).resolve())}  # the engine stands in another folder
    return _checked({**_settings(str(docs)), **wanted, **place}, str(who))


def _folders() -> list[str]:
    """Documents at hand: the shipped ones, then those of comparisons."""
    shipped = [SHIPPED] if (paths.PROJECT / SHIPPED).exists() else []
    return list(dict.fromkeys([*shipped, *(str(run.config.get("docs_dir")) for run in rag_tables.finished())]))


def _settings(docs: str) -> dict[str, Any]:
    """As the newest comparison of these documents had them, whose index is there already; else the defaults."""
    run = next((run for run in rag_tables.finished() if run.config.get("docs_dir") == docs), None)
    return {name: run.config[name] for name in KEPT if name in run.config} if run else {"docs_dir": docs}


def _checked(values: dict[str, Any], who: str) -> tuple[RagConfig, str] | None:
    try:
        return RagConfig(**values), who
    except (UserError, ValidationError) as error:
        said = str(error) if isinstance(error, UserError) else error.errors()[0]["msg"].removeprefix("Value error, ")
        st.info(plain(said))
        return None


def _play(found: Engine, settings: RagConfig, who: str) -> None:
    """Ask the engine, unless it was asked just this."""
    mix = None if who == BASE else console.request(console.alone(who))

    def read() -> Iterator[playback.Event]:
        return client.rag_answers(found, f"{playback.session()}.{SLOT}", settings.model_dump(mode="json", exclude_defaults=True), mix=mix)

    playback.play(SLOT, (found.pid, settings, who), read)


def _still(settings: RagConfig) -> None:
    """Drawn once, in a container as a fragment has one: so the browser keeps its elements when the clock starts or stops."""
    with st.container():
        _drawn(settings)


@st.fragment(run_every=TICK)
def _ticking(settings: RagConfig) -> None:
    """Drawn again and again while answers are on their way; at the end the page runs once more, which stops the clock."""
    going = playback.going((SLOT,))
    _drawn(settings)
    if not going:
        st.rerun()


def _drawn(settings: RagConfig) -> None:
    """Passages and answers as far as they have come."""
    found = playback.playing(SLOT)
    if found is None:
        return
    events = found.look()
    if found.error:
        st.warning(plain(found.error), icon=":material/error:")
        st.button("Try again", key="ask.again", on_click=playback.clear, args=(SLOT,))
    answers = fold(events, settings.pipelines, bool(found.error))
    progress = [event for event in events if "index" in event]
    if progress and not found.done and all(answer.seconds is None for answer in answers.values()):
        st.progress(min(1.0, progress[-1]["index"]), plain(progress[-1]["message"] or "indexing"))
    for event in events:
        if "note" in event:
            st.caption(plain(event["note"]))
    rag_cards.show([column(name, answer, str(settings.question)) for name, answer in answers.items()], key="rag-live")
    if found.first is not None:
        st.caption(f"First words after {three(found.first)} s. Yellow: words of the question. All answers are written in one batch.")


def fold(events: list[playback.Event], pipelines: tuple[str, ...], broken: bool = False) -> dict[str, Answer]:
    """The answers so far, by pipeline."""
    found = {name: Answer() for name in pipelines}
    for event in events:
        if "pipeline" in event:
            found[event["pipeline"]] = Answer(event["passages"], event["seconds"], event["tokens"], state="waits")
        elif "key" in event:
            found[event["key"]] = _after(found[event["key"]], event)
    if broken:
        ended = ("stop", "length", "error")
        found = {name: each if each.state in ended else replace(each, state="superseded") for name, each in found.items()}
    return found


def _after(answer: Answer, event: playback.Event) -> Answer:
    if "text" in event:
        return replace(answer, text=answer.text + event["text"], state="writes", said="")
    if "merging" in event:
        return replace(answer, said=f"its adapter is made, {event['merging']:.0%}")
    if "error" in event:
        return replace(answer, state="error", said=event["error"])
    return replace(answer, state=event["done"], said="")


def column(name: str, answer: Answer, question: str) -> Column:
    """A pipeline's column."""
    passages = [
        rag_cards.passage(
            f"{place}. {each['document']}",
            f"score {three(each['score'])}" + ("" if each["read"] else ", not read: no room"),
            each["text"],
            question,
            "" if each["read"] else "unread",
        )
        for place, each in enumerate(answer.passages, 1)
    ]
    return Column(rag_charts.label(name), rag_charts.PIPELINE[name], tuple(passages), answer.text, answer.state, _words(answer))


def _words(answer: Answer) -> str:
    if answer.said:
        return answer.said
    states = {"searches": "searches", "waits": "waits for its turn", "length": "cut: the longest answer", "superseded": "broken off"}
    said = [states[answer.state]] if answer.state in states else []
    if answer.passages and answer.seconds is not None:
        said.append(f"found in {three(answer.seconds)} s, {count(answer.tokens, 'token')} read")
    return "; ".join(said)
