"""The RAG page on made-up tables: its sentences against the tables, the closer looks, and texts that are never read as markup."""

import numpy as np
import pandas as pd
import pytest

from core import rag_findings, rag_tables, results, runs
from core.rag_tables import RagRun
from core.results.found import PAGE
from core.wording import signed, three
from core.workspace import Workspace
from pages import rag_live
from tests.pages import sample_rag
from tests.pages.conftest import Open
from tests.pages.test_pages import words

LOOKS = ("what fixed it", "retrieval", "differences", "question by question", "consistency", "cost", "embeddings", "documents")


def test_the_finding_agrees_with_scores_and_comparisons(open_page: Open) -> None:
    run = sample_rag.compare()
    at = open_page("rag")
    assert not at.exception
    scores = results.read(run.path / "scores.csv", results.Score)
    means = scores[(scores["metric"] == "rougeL") & (scores["category"] == "(all)")].set_index("model")["value"]
    rag = means[[name for name in means.index if name.startswith("base + ") and name != "base + none"]].idxmax()
    tests = results.read(run.path / "comparisons.csv", results.Comparison)
    same = (tests["model"] == rag) & (tests["baseline"] == "base + none") & (tests["metric"] == "rougeL")
    test = tests[same].iloc[0]
    said = words(at)
    assert f"rougeL of base + none is {three(means['base + none'])} on 60 questions" in said
    span = f"{signed(test['difference'])} (95 % interval {signed(test['low'])} to {signed(test['high'])}"
    assert f"RAG alone ({rag}, best of 5) {span}" in said
    assert "RAG alone helps, tuning alone is not seen to help." in said
    others = set(rag_findings.LOOKED_AT) & set(scores["metric"]) - {"rougeL"}
    assert others and all(f"By {metric}: " in said for metric in others)


def test_questions_come_in_pages_and_another_filter_goes_back_to_the_first(open_page: Open) -> None:
    questions = RagRun(sample_rag.compare()).questions.sort_values("answered", ascending=False, kind="stable")
    first, last = questions.iloc[0], questions.iloc[-1]
    at = open_page("rag", rag_look="question by question", asked_page="2", rag_question=first["question_id"])

    def asked() -> list[str]:
        return next(frame.value["question"].tolist() for frame in at.dataframe if "gold_documents" in frame.value)

    assert asked() == questions["question"].tolist()[PAGE:]
    assert first["question"] in [text.value for text in at.text], "a row of another page stays open"
    at.text_input(key="asked_contains").set_value(last["question"].upper()).run()
    assert at.session_state["asked_page"] == 1 and asked() == [last["question"]]


def test_what_fixed_it_counts_the_rows_of_its_table(open_page: Open) -> None:
    run = sample_rag.compare()
    at = open_page("rag", fix_generator="own", fix_pipeline="Hybrid")
    fixes = results.read(run.path / "fixes.csv", results.Fix)
    mine = fixes[(fixes["generator"] == "own") & (fixes["pipeline"] == "hybrid") & (fixes["metric"] == "rougeL")]
    counts = mine["outcome"].value_counts()
    said = words(at)
    assert f"RAG alone {counts.get('rag', 0)} (" in said and f"tuning alone {counts.get('tuning', 0)} (" in said
    assert f"by neither {counts.get('none', 0)}, made worse {counts.get('harm', 0)}" in said
    at.selectbox(key="fix_outcome").set_value("tuning").run()
    table = next(table.value for table in at.dataframe if "neither" in table.value)
    assert len(table) == counts.get("tuning", 0) and set(table["outcome"]) == {"tuning alone"}


@pytest.mark.parametrize("look", LOOKS)
def test_every_closer_look(open_page: Open, look: str) -> None:
    sample_rag.compare()
    at = open_page("rag", rag_look=look)
    assert not at.exception and not at.error
    assert at.get("button_group")[0].value == look
    assert at.get("plotly_chart")
    assert not [element for element in at.markdown if element.allow_html or "<script>" in element.value]


def test_documents_that_were_refused_stand_first_with_their_reason(open_page: Open) -> None:
    sample_rag.compare()
    at = open_page("rag", rag_look="documents")
    table = next(table.value for table in at.dataframe if "reason" in table.value and "bytes" in table.value)
    assert table["document"].tolist()[:2] == ["broken.pdf", "empty.txt"] and table["reason"].iloc[1] == "It is empty."
    assert "24 documents indexed in 144 passages; 3 refused" in words(at)


def test_retrieval_alone_and_a_typed_question_have_no_grid(open_page: Open) -> None:
    sample_rag.compare(generators={})
    at = open_page("rag")
    assert not at.exception and "finds a gold passage among its first 3" in words(at)
    assert "retrieval" in at.get("button_group")[0].options and "what fixed it" not in at.get("button_group")[0].options
    sample_rag.typed()
    at = open_page("rag")
    assert not at.exception and "No gold passage is known" in words(at)
    assert "What is wisdom?" in [text.value for text in at.text]


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_job_under_way_and_a_failed_one(open_page: Open, status: str) -> None:
    import os

    from core.jobs import locks

    run = sample_rag.compare(status=status, error="No document of 'x' can be indexed." if status == "failed" else None)
    held = locks.take(run.run_id) if status == "running" else None
    workspace = Workspace(run)
    workspace.event("progress", done=30, total=120, unit="passages", message="")
    at = open_page("rag")
    assert not at.exception
    if held is not None:
        assert "30 of 120 passages" in " ".join(bar.proto.text.replace("\\", "") for bar in at.get("progress"))
        os.close(held)
    else:
        assert "No document of 'x' can be indexed." in words(at)


def test_the_form_tells_how_many_answers_it_asks_for_and_submits(open_page: Open) -> None:
    at = open_page("rag")
    assert "Type a question, name a file of questions" in words(at)
    at.selectbox(key="rag.questions").set_value("data/rag/wisdom_questions.jsonl").run()
    at.number_input(key="rag.limit").set_value(60).run()
    assert "360 answers: 60 questions, 1 model, 6 pipelines" in words(at)
    assert "python -m core rag --questions data/rag/wisdom_questions.jsonl --limit 60" in [code.value for code in at.code]
    at.button(key="rag.submit").click().run()
    assert not at.exception
    assert [(run.verb, run.status, run.config["limit"]) for run in runs.listing()] == [("rag", "queued", 60)]


def test_overlaps_are_the_same_either_way_round_and_missed_gold_is_not() -> None:
    found = RagRun(sample_rag.compare())
    square = rag_tables.overlap(found, "overlap@3")
    table = found.overlaps[(found.overlaps["metric"] == "overlap@3") & (found.overlaps["question_id"] == "(all)")]
    for row in table.itertuples():
        assert square.loc[row.pipeline, row.other] == square.loc[row.other, row.pipeline] == row.value
    missed = rag_tables.overlap(found, "gold_missed_by_other@3")
    assert missed.loc["dense", "hybrid"] != missed.loc["hybrid", "dense"]


def test_what_one_finds_and_the_other_misses_is_counted_from_the_rankings() -> None:
    found = RagRun(sample_rag.compare())
    table = rag_tables.disagreements(found, "dense", "bm25", 3)
    rows = found.retrieved.ask("SELECT * FROM rows")
    for name in ("dense", "bm25"):
        by_hand = {row.question_id for row in rows.itertuples() if row.pipeline == name and row.rank <= 3 and row.grade > 0}
        assert set(table.loc[table[name], "question_id"]) == by_hand
    assert len(table) == 60


def test_a_harmful_pipeline_is_called_harmful() -> None:
    run = sample_rag.compare({"base": "base"})
    for name, kind in (("scores", results.Score), ("comparisons", results.Comparison)):
        table = results.read(run.path / f"{name}.csv", kind)
        lower = table["model"] != "base + none"
        for column in {"value", "difference", "low", "high"} & set(table.columns):
            table.loc[lower, column] = -table.loc[lower, column].abs() if column != "value" else 0.01
        if name == "comparisons":
            table[["low", "high"]] = np.sort(table[["low", "high"]].to_numpy(), axis=1)
        table.to_csv(run.path / f"{name}.csv", index=False)
    said = rag_findings.headline(RagRun(run))
    assert said.startswith("RAG alone harms.") and "tuning" not in said


def test_where_nobody_answered_without_passages_nothing_is_said_to_help() -> None:
    run = sample_rag.compare()
    cells = results.read(run.path / "cells.csv", results.Cell)
    cells[cells["pipeline"] != "none"].to_csv(run.path / "cells.csv", index=False)
    said = rag_findings.headline(RagRun(run))
    assert "finds a gold" in said and "helps" not in said and "seen to help" not in said


@pytest.mark.parametrize(
    ("name", "group"), [("a/b/c.md", "a"), ("dhammapada-01.md", "dhammapada"), ("42.txt", "42"), ("notes.md", "notes")]
)
def test_the_group_of_a_document(name: str, group: str) -> None:
    assert rag_tables.group(name) == group


def test_events_fold_into_answers_side_by_side() -> None:
    events = [
        {"index": 0.5, "message": "half"},
        {"pipeline": "none", "passages": [], "seconds": 0.0, "tokens": 9},
        {"key": "none", "text": "It "},
        {"pipeline": "dense", "passages": [{"document": "a.md"}], "seconds": 0.1, "tokens": 90},
        {"key": "none", "text": "is."},
        {"key": "none", "done": "stop", "tokens": 3},
    ]
    found = rag_live.fold(events, ("none", "dense", "bm25"))
    assert (found["none"].text, found["none"].state) == ("It is.", "stop")
    assert (found["dense"].state, found["bm25"].state) == ("waits", "searches")
    broken = rag_live.fold(events, ("none", "dense", "bm25"), broken=True)
    assert [each.state for each in broken.values()] == ["stop", "superseded", "superseded"]


def test_costs_are_means_and_medians_of_the_answers() -> None:
    found = RagRun(sample_rag.compare())
    table = rag_tables.costs(found).set_index("model")
    mine = pd.DataFrame(found.answers[found.answers["model"] == "own + dense"])
    assert table.loc["own + dense", "prompt_tokens"] == pytest.approx(mine["prompt_tokens"].mean())
    assert table.loc["own + dense", "answer_seconds"] == np.median(mine["seconds"])
