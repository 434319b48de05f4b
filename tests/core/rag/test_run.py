"""A comparison from a folder of documents to its tables: each figure is worked out again from the tables that it came from."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
from rouge_score.rouge_scorer import RougeScorer

from core import paths, results, runs
from core.config import RagConfig
from core.errors import UserError
from core.rag.run import run
from core.wording import three
from core.workspace import Workspace

DOCUMENTS = {
    "plants.md": "# Plants\n\n[1] Patience is a bitter plant, but it has sweet fruit.\n\n[2] The oak grows slowly and lives long.\n",
    "fire.md": "# Fire\n\n[1] Anger burns the house of the one who holds it.\n\n[2] A torch gives light to all who follow.\n",
    "water.md": "# Water\n\n[1] A river finds its way around every stone.\n\n[2] Salt water cures sweat, tears and the sea.\n",
}
QUESTIONS = [
    {"question": "What is patience?", "answer": "A bitter plant with sweet fruit.", "gold_document": "plants.md", "gold_passages": ["1"]},
    {"question": "What does anger do?", "answer": "It burns the house.", "gold_document": "fire.md", "gold_passages": ["1"]},
    {"question": "How does a river move?", "answer": "Around every stone.", "gold_document": "water.md", "gold_passages": ["1"]},
]
PIPELINES = ["none", "dense", "bm25", "hybrid", "parent"]


class Compared(NamedTuple):
    config: RagConfig
    path: Path
    outputs: dict
    tables: dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def compared(tiny_base, tmp_path_factory):
    """One comparison for all tests of this file."""
    folder = tmp_path_factory.mktemp("rag")
    (folder / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (folder / "docs" / name).write_text(text)
    (folder / "docs" / "empty.txt").write_text("")
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCEUM_HOME", str(folder / "home"))
        patch.setenv("LYCEUM_CACHE", str(folder / "cache"))
        config = RagConfig(
            docs_dir=str(folder / "docs"),
            questions=str(folder / "q.jsonl"),
            base_model=str(tiny_base),
            precision="fp32",
            device="cpu",
            pipelines=PIPELINES,
            chunk_size=24,
            chunk_overlap=0,
            parent_size=64,
            top_k=2,
            candidates=5,
            max_new_tokens=8,
            paraphrases=1,
            draws=1,
        )
        workspace = Workspace(runs.create("rag", config.model_dump(mode="json")))
        outputs = run(config, workspace)
        written = {name: paths.home() / path for name, path in outputs.items() if str(path).endswith(".csv")}
        tables = {name: pd.read_csv(path, keep_default_na=False) for name, path in written.items()}
        return Compared(config, workspace.path, outputs, tables)


def test_every_file_is_indexed_or_refused_by_name(compared):
    documents = compared.tables["documents"].set_index("document")
    assert set(documents.index) == {*DOCUMENTS, "empty.txt"}
    assert documents.loc["empty.txt", "status"] == "refused" and documents.loc["empty.txt", "reason"]
    assert (documents.drop("empty.txt")["status"] == "indexed").all()
    kept = compared.tables["passages"].query("kind == 'passage'")["document"].value_counts()
    assert {name: documents.loc[name, "passages"] for name in DOCUMENTS} == kept.to_dict()


def test_retrieval_figures_are_trec_evals_on_the_rankings_in_the_table(compared):
    retrieved, questions = compared.tables["retrieved"], compared.tables["questions"]
    qrels = {row.question_id: dict.fromkeys(row.gold_passages.split(" | "), 1) for row in questions.itertuples()}
    scores = compared.tables["retrieval_scores"].query("category == '(all)' and level == 'passage'")
    for pipeline in ("dense", "bm25", "hybrid"):
        mine = retrieved[retrieved["pipeline"] == pipeline]
        ranked = {question: dict(zip(rows["passage"], rows["score"], strict=True)) for question, rows in mine.groupby("question_id")}
        theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank", "ndcg_cut.5", "success.1"}).evaluate(ranked)
        assert len(theirs) == len(qrels)
        ours = scores[scores["pipeline"] == pipeline].set_index("metric")["value"].astype(float)
        for name, measure in (("mrr", "recip_rank"), ("ndcg@5", "ndcg_cut_5"), ("hit_rate@1", "success_1")):
            assert np.mean([each[measure] for each in theirs.values()]) == pytest.approx(ours[name], abs=1e-9)


def test_the_gold_passage_of_an_easy_question_is_found_and_read(compared):
    questions = compared.tables["questions"].set_index("question")
    gold = questions.loc["What is patience?", "gold_passages"]
    answers = compared.tables["rag_answers"].query("asked == 'What is patience?' and variant == ''").set_index("model")
    for pipeline in ("dense", "bm25", "hybrid"):
        assert gold in answers.loc[f"base + {pipeline}", "passages"].split(" | ")
    assert answers.loc["base + none", "passages"] == ""
    sections = compared.tables["passages"].query("kind == 'section'")["passage"]
    assert set(answers.loc["base + parent", "passages"].split(" | ")) <= set(sections)


def test_answers_scores_and_the_finding_are_of_the_same_answers(compared):
    answers, scores = compared.tables["answers"], compared.tables["scores"]
    assert len(answers) == len(PIPELINES) * len(QUESTIONS)
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    whole = pd.to_numeric(scores[scores["category"] == "(all)"].set_index(["model", "metric"])["value"], errors="coerce")
    for model, rows in answers.groupby("model"):
        found = [rouge.score(row.reference, row.prediction)["rougeL"].fmeasure for row in rows.itertuples()]
        assert whole[model, "rougeL"] == pytest.approx(np.mean(found), abs=1e-9)
        perplexity = np.exp(rows["reference_loss"].sum() / rows["reference_tokens"].sum())
        assert whole[model, "perplexity"] == pytest.approx(perplexity, rel=1e-9)


def test_the_finding_ends_the_run_and_says_the_tables_figures(compared):
    scores = compared.tables["scores"].query("category == '(all)' and metric == 'perplexity'").set_index("model")["value"].astype(float)
    finding = compared.outputs["finding"]
    best = scores.drop("base + none").idxmin()
    assert f"perplexity of base + none is {three(scores['base + none'])} on 3 questions" in finding
    assert f"({best}, best of 4) {three(scores[best])}" in finding and "is not seen to help" in finding  # three questions prove nothing


def test_variants_are_answered_and_compared(compared):
    made = compared.tables["rag_answers"]
    assert set(made["variant"]) == {"", "paraphrase 1", "draw 1"}
    assert set(compared.tables["consistency"]["over"]) == {"pipelines", "paraphrases", "draws"}


def test_answers_are_what_a_judge_reads(compared):
    table = results.read(compared.path / "answers.csv", results.Answer)
    assert {"base + none", "base + dense"} <= set(table["model"])
    assert len(results.read(compared.path / "models.csv", results.Model)) == len(PIPELINES)


def test_opened_again_the_index_keeps_every_document(compared, monkeypatch):
    folder = compared.path.parents[2]
    monkeypatch.setenv("LYCEUM_CACHE", str(folder / "cache"))
    again = compared.config.model_copy(update={"models": (), "question": "What burns?", "questions": None})
    workspace = Workspace(runs.create("rag", {}))
    outputs = run(again, workspace)
    documents = results.read(paths.home() / outputs["documents"], results.Document)
    assert set(documents["status"]) == {"kept", "refused"}
    assert outputs["index"] == compared.outputs["index"]
    assert "answers" not in outputs


def test_questions_that_own_has_no_adapter_for_are_refused_in_a_sentence(compared):
    with pytest.raises(UserError, match="No category has an adapter of its own"):
        run(compared.config.model_copy(update={"models": ("base", "own")}), Workspace(runs.create("rag", {})))
