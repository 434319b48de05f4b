"""Start: from a file of questions and answers to adapters, an examination and a bundle, in one job that is told before it begins."""

from itertools import islice

import pandas as pd
import streamlit as st

from core import paths, private, runs
from core.config import DataConfig, StudyConfig
from core.data.formats import find, sample
from core.data.guess import guess
from core.data.read import Dataset, read
from core.data.source import Source, Table
from core.errors import UserError
from core.presets import STUDY
from core.runs import Run
from core.study_plan import Plan, check_names, plan
from core.wording import count, listed, plain, roughly
from pages import form, frame, parts, upload

SHOWN_ROWS = 3
MEMORY_GB, MB_PER_MODEL = 3, 7
"""Of a small study with the bundled model, as measured: 2.2 GB at the most and 32 MB in all with 3 categories, 3.0 GB with 7."""
COLUMNS = ("question_column", "answer_column", "category_column")
FIELDS = ["name", "replace", "base_model", "backend"]
SIZES = {
    "small": "Small: shows the way",
    "medium": "Medium: a first result",
    "large": "Large: asks every held-out question",
}


@st.cache_resource(show_spinner="Reading the file", max_entries=4)
def _source(name: str, changed: float) -> tuple[Source, Table]:
    """The file as it stands, of a large one its beginning; read again when it has changed."""
    return find(name), sample(name)


@st.cache_resource(show_spinner="Reading the rows", max_entries=4)
def _dataset(config: DataConfig, changed: float) -> Dataset:
    return read(config)


def file() -> str:
    """Upload a file or take one that is here."""
    st.subheader("1 · The file", anchor=False)
    upload.show("start.data")
    known = form.datasets()
    st.session_state.setdefault("start.data", st.query_params.get("data", known[0]))
    if st.session_state["start.data"] not in known:
        known = [st.session_state["start.data"], *known]
    said = "A question and an answer in each row, and a category if there is one. Any column names, any language."
    return str(st.selectbox("Dataset", known, key="start.data", help=said, persist_state="session"))


def columns(table: Table) -> dict[str, str | None]:
    """Which columns hold what: a guess that can be changed, and the first rows as they will be read."""
    found = guess(table)
    guessed = dict(zip(COLUMNS, (found.question, found.answer, found.category), strict=True))
    chosen: dict[str, str | None] = {}
    for place, (name, column) in enumerate(zip(COLUMNS, st.columns(3), strict=True)):
        label = ("Question", "Answer", "Category")[place]
        index = table.columns.index(guessed[name]) if guessed[name] else None
        free = "none: all rows are one category" if name == "category_column" else "choose a column"
        chosen[name] = column.selectbox(label, table.columns, index, placeholder=free, key=f"start.{name}.{table.columns}")
    rows = [
        {label: sendable(row.get(chosen[name] or "")) for label, name in zip(("question", "answer", "category"), COLUMNS, strict=True)}
        for _, row in islice(table.records, SHOWN_ROWS)
    ]
    st.dataframe(pd.DataFrame(rows).astype(str), hide_index=True, alt="The first rows as they will be read")
    return chosen


def sendable(value: object) -> object:
    """Half a character (a lone surrogate) can't be sent to a browser; the reader says what is wrong with such a row."""
    return str(value).encode("utf-8", "replace").decode() if value is not None else None


def size(planned: dict[str, Plan]) -> str:
    """How much is done, with what each size takes."""
    times = [f"about {roughly(each.seconds)}" for each in planned.values()]
    if "start.size" not in st.session_state and st.query_params.get("size") in SIZES:
        st.session_state["start.size"] = st.query_params["size"]
    chosen = str(st.radio("Size", list(SIZES), format_func=SIZES.__getitem__, captions=times, key="start.size", horizontal=True))
    st.query_params["size"] = chosen
    return chosen


def told(planned: Plan) -> None:
    """What will happen, how long it takes, and what it needs."""
    rows = [{"stage": stage.title, "makes": stage.what, "about": roughly(stage.seconds)} for stage in planned.stages]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The stages of the study, with the time that each takes")
    for note in planned.notes:
        st.info(plain(note))
    taken = f"About {MEMORY_GB} GB of memory and {MB_PER_MODEL * planned.models} MB on disk."
    memory = taken if planned.config.base_model == "bundled" else "Its memory: see Estimate on the Train page."
    st.caption(
        f"About {roughly(planned.seconds)} in all, {plain(planned.pace_from)}; it can be left, cancelled and resumed. {memory} "
        "The bundled model and the judge `similarity` need no GPU, no key and no network."
    )


def finding(dataset: Dataset, planned: Plan) -> str:
    """The dataset in a sentence."""
    rows = f"{count(len(dataset.rows), 'row')} in {count(len(dataset.categories), 'category', 'categories')}"
    held, trained = len(dataset.places("test")), count(len(planned.trained), "category", "categories")
    return f"{rows} ({listed(dataset.categories)}); {held:,} held out. {trained} will get an adapter."


def newest() -> None:
    """The study that runs, or what the last one made."""
    parts.watch("study")
    last = runs.listing("study")[:1]
    if last and last[0].status == "done":
        results(last[0])


def results(run: Run) -> None:
    """Where to see what a study made."""
    st.success(f"The last study, of {plain(private.shown(str(run.config['data'])))}, is done. What it found:", icon=":material/check:")
    with st.container(horizontal=True):
        for page, key, title in (
            ("evaluate", "evaluation", "evaluate"),
            ("judge", "judge_run", "judge own"),
            ("share", "report", "report"),
        ):
            if title in run.outputs:
                chosen = {key: run.outputs[title]["run_id"]}
                st.page_link(f"pages/{page}.py", label=page.capitalize(), icon=":material/arrow_forward:", query_params=chosen)


def is_read(source: Source, config: DataConfig) -> bool:
    """Whether the rows are at hand. Those of a large file are read once by a job, which reports on them as well."""
    if not source.large:
        return True
    from core.data import importing  # it needs pyarrow

    with st.spinner("Looking whether this file was read before"):
        return importing.folder(source, config).exists()


def read_it(config: DataConfig) -> None:
    """The button that reads a large file, and how far that is."""
    parts.watch("data")
    if any(run.config == config.model_dump(mode="json") for run in parts.under_way("data")):
        return
    st.info("This file is large. Its rows are read once, into the cache, with a report on the Data page; then you will see what happens.")
    if parts.action("Read it", key="start.read"):
        parts.submit("data", config)


def wizard() -> None:
    """File, columns, size, and the button."""
    name = file()
    changed = paths.data_file(name).stat().st_mtime if paths.data_file(name).is_file() else 0.0
    source, table = _source(name, changed)
    st.subheader("2 · Its columns", anchor=False)
    chosen = columns(table)
    if not chosen["question_column"] or not chosen["answer_column"]:
        st.info("Choose the columns of question and answer; then you will see what happens and how long it takes.")
        return
    if not is_read(source, DataConfig(data=name, **chosen)):
        read_it(DataConfig(data=name, **chosen))
        return
    dataset = _dataset(DataConfig(data=name, **chosen), changed)
    st.subheader("3 · What will happen", anchor=False)
    planned = {each: plan(StudyConfig(data=name, size=each, **chosen), dataset) for each in STUDY}  # type: ignore[arg-type]
    picked = size(planned)
    config = form.settings("study", FIELDS, {"base_model": form.base_models()}, {"data": name, **chosen, "size": picked}, across=4)
    if config is None:
        return
    whole = plan(config, dataset)  # type: ignore[arg-type]
    check_names(whole)
    st.markdown(plain(finding(dataset, whole)))
    told(whole)
    if any(run.config == config.model_dump(mode="json") for run in parts.under_way("study")):
        st.info("This very study is under way: see the top of this page.", icon=":material/hourglass_top:")
    else:
        form.begin({"study": "Begin"}, config, estimated=True)


frame.enter()
parts.head(
    "Start",
    "From a file of questions and answers to adapters, a merge, an examination on held-out questions, and one file that you can send.",
)
newest()
parts.doing()
try:
    wizard()
except UserError as error:
    st.error(plain(str(error)))
