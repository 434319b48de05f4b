"""Every view has an address: each page's choices, opened by a link, are the ones that are shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import queries, rag_tables, runs
from tests.pages import sample, sample_rag
from tests.pages.conftest import APP
from tests.pages.test_pages import words

LINKS: dict[str, list[tuple[dict[str, str], dict[str, object]]]] = {
    "data": [({"data_category": "cynic"}, {"data_category": ["cynic"]})],
    "train": [
        (
            {"train_adapter": "cynic-lora", "closer": "cynic-lora", "batch_row": "2"},
            {"train_adapter": ["cynic-lora"], "closer": "cynic-lora", "batch_row": 1},
        )
    ],
    "merge": [({"merged": "linear_merged_adapter"}, {"merged": "linear_merged_adapter"})],
    "evaluate": [
        (
            {"metric": "bleu", "model": "pooled-lora", "category": "kural", "order": "smallest gain", "contains": "the", "mark": "true"},
            {"metric": "bleu", "model": "pooled-lora", "category": "kural", "order": "smallest gain", "contains": "the", "mark": True},
        ),
        ({"flag": "cut at the limit", "export": "base_hacker_results.csv"}, {"flag": "cut", "export": "base_hacker_results.csv"}),
    ],
    "judge": [
        ({"verdict": "win", "judge": "all", "orders": "both agree", "page": "1"}, {"verdict": "win", "judge": "all"}),
        ({"look": "slices", "slice": "length"}, {"look": "slices", "slice": "length"}),
    ],
    "rag": [
        (
            {"rag_look": "retrieval", "rank_metric": "ndcg@5", "rag_level": "document"},
            {"rag_look": "retrieval", "rank_metric": "ndcg@5", "rag_level": "document"},
        ),
        ({"rag_look": "differences", "first": "2"}, {"rag_look": "differences", "first": 2}),
        ({"ask.question": "Why?", "ask.top_k": "5"}, {"ask.question": "Why?", "ask.top_k": 5}),
    ],
    "jobs": [({"status": "done"}, {"status": "done"})],
    "playground": [({"model": "base", "max_tokens": "17"}, {"playground.models": ["base"], "playground.max_tokens": 17})],
}
"""By page: query parameters, and what the widgets with these keys then hold."""


@pytest.fixture(scope="module", autouse=True)
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A home that all tests of this file look at."""
    home = str(tmp_path_factory.mktemp("linked"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", home)
        sample.everything()
        sample.evaluate()
        sample_rag.compare()
    yield home


@pytest.fixture(autouse=True)
def here(filled: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_HOME", filled)


def opened(page: str, /, **query: str) -> AppTest:
    """The page as a new visitor finds it behind a link."""
    at = AppTest.from_file(str(APP), default_timeout=120)
    for name, value in query.items():
        at.query_params[name] = value
    at.switch_page(f"pages/{page}.py").run()
    assert not at.exception and not at.error, [each.value for each in (*at.exception, *at.error)]
    return at


def texts(at: AppTest) -> list[str]:
    return [text.value for text in at.text]


@pytest.mark.parametrize("page", LINKS)
def test_a_link_opens_the_view(page: str) -> None:
    for query, held in LINKS[page]:
        at = opened(page, **query)
        assert {key: at.session_state[key] for key in held} == held


def test_an_open_row_is_the_addresss_whatever_the_order() -> None:
    found = queries.evaluation(queries.runs_with("evaluate", "answers.csv")[0])
    pairs = queries.told(found, queries.paired(found, found.compared[0]))
    assert pairs.iloc[2]["question"] in texts(opened("evaluate", pair="2", order="smallest gain"))
    assert pairs.iloc[0]["question"] in texts(opened("evaluate", pair="../2"))


def test_an_open_question_of_a_comparison_is_the_addresss() -> None:
    asked = rag_tables.RagRun(rag_tables.finished()[0]).questions.iloc[-1]
    at = opened("rag", rag_look="question by question", rag_question=asked["question_id"])
    assert asked["question"] in texts(at)


def test_an_open_verdict_job_and_run_are_the_addresss() -> None:
    at = opened("judge", open="3")
    table = next(frame.value for frame in at.dataframe if "verdict" in frame.value)
    assert table.loc[3, "question"] in texts(at)
    assert (older := runs.listing()[-1].run_id) in words(opened("jobs", job=older))
    older = queries.runs_with("evaluate", "answers.csv")[-1].run_id
    at = opened("evaluate", evaluation=older)
    assert at.selectbox(key="evaluation").value == older and at.query_params["evaluation"] == older


def test_a_chosen_row_is_written_into_the_address() -> None:
    def script() -> None:
        import streamlit as st

        from pages import link

        for rows in ([], [1], [7]):
            st.text(link.row({"selection": {"rows": rows}}, "pair", ["5", "9"]))

    at = AppTest.from_function(script).run()
    assert [text.value for text in at.text] == ["0", "1", "1"] and at.query_params["pair"] == "9"
