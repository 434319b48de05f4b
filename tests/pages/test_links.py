"""Every view has an address: each page's choices, opened by a link, are the ones that are shown; and a choice is written into the address."""

import pytest
from streamlit.testing.v1 import AppTest

from core import paths, queries, runs
from tests.pages import sample, sample_rag
from tests.pages.conftest import Open
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
        ({"rag_look": "retrieval", "rank_metric": "mrr"}, {"rag_look": "retrieval", "rank_metric": "mrr"}),
        ({"rag_look": "differences", "first": "2"}, {"rag_look": "differences", "first": 2}),
        ({"ask.question": "Why?", "ask.top_k": "5"}, {"ask.question": "Why?", "ask.top_k": 5}),
    ],
    "jobs": [({"status": "done"}, {"status": "done"})],
    "playground": [({"model": "base", "max_tokens": "17"}, {"playground.models": ["base"], "playground.max_tokens": 17})],
}
"""By page: query parameters, and what the widgets with these keys then hold."""


def state(at: AppTest, key: str) -> object:
    return at.session_state[key]


@pytest.fixture
def filled() -> None:
    sample.everything()
    sample_rag.compare()


@pytest.mark.parametrize("page", LINKS)
def test_a_link_opens_the_view(open_page: Open, filled: None, page: str) -> None:
    for query, held in LINKS[page]:
        at = open_page(page, **query)
        assert not at.exception and not at.error, [each.value for each in (*at.exception, *at.error)]
        assert {key: state(at, key) for key in held} == held


def test_an_open_row_is_in_the_address(open_page: Open, filled: None) -> None:
    found = queries.evaluation(queries.runs_with("evaluate", "answers.csv")[0])
    pairs = queries.side_by_side(found, found.compared[0])
    third = pairs.iloc[2]
    at = open_page("evaluate", pair="2")
    assert third["question"] in [text.value for text in at.text]
    assert third["question"] in [text.value for text in open_page("evaluate", pair="2", order="smallest gain").text], "whatever the order"
    assert pairs.iloc[0]["question"] in [text.value for text in open_page("evaluate", pair="../2").text]


def test_an_open_question_of_a_comparison_is_in_the_address(open_page: Open, filled: None) -> None:
    from core import rag_tables

    asked = rag_tables.RagRun(rag_tables.finished()[0]).questions.iloc[-1]
    at = open_page("rag", rag_look="question by question", rag_question=asked["question_id"])
    assert asked["question"] in [text.value for text in at.text]


def test_an_open_verdict_and_an_open_job_are_in_the_address(open_page: Open, filled: None) -> None:
    at = open_page("judge", open="3")
    table = next(frame.value for frame in at.dataframe if "verdict" in frame.value)
    assert table.loc[3, "question"] in [text.value for text in at.text]
    older = runs.listing()[-1].run_id
    assert older in words(open_page("jobs", job=older))


def test_a_choice_is_written_into_the_address(open_page: Open, filled: None) -> None:
    at = open_page("evaluate")
    at.selectbox(key="metric").set_value("bleu").run()
    at.text_input(key="contains").set_value("railroad").run()
    assert (at.query_params["metric"], at.query_params["contains"]) == (["bleu"], ["railroad"])


def test_a_run_of_several_is_in_the_address(open_page: Open, filled: None) -> None:
    older, newer = queries.runs_with("evaluate", "answers.csv")[0].run_id, sample.evaluate().run_id
    at = open_page("evaluate", evaluation=older)
    assert older != newer and at.selectbox(key="evaluation").value == older
    assert (paths.results() / older).exists()
