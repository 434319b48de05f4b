"""A corpus, queries and qrels in BEIR's form: the tables' figures are pytrec_eval's of the tables' rankings and the qrels' file."""

import csv
import json
from pathlib import Path

import pytest
import pytrec_eval
import torch

from core import results
from core.config import RagConfig
from core.rag import PIPELINES
from core.rag.index import open_index
from core.rag.pipelines import rank
from core.rag.questions import read_questions
from core.rag.relevance import grades
from core.rag.retrieval import score, table

pytestmark = pytest.mark.bundled
"""The tokenizer is the bundled encoder's."""

CORPUS = {
    "d1": "Cats sleep in the sun. They wake at night and walk over roofs.",
    "d2": "Dogs bark at the moon. A dog that sleeps does not bark.",
    "dé 3": "The sun is a star; the moon is not.",
    "d4": "Cats sleep in the sun. They wake at night and walk over roofs.",
    "d5": "Bread needs flour, water, salt and time.",
    "d6": "Stars are far away. Night shows them, day hides them.",
}
QUERIES = {"1": "do cats sleep", "2": "is the moon a star", "3": "how is bread made", "4": "what hides the night", "5": "not judged"}
QRELS = {"1": {"d1": 2, "d4": 1, "d5": 0}, "2": {"dé 3": 2, "d6": 1, "gone": 1}, "3": {"d5": 1}, "4": {"d2": 0}}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RagConfig:
    from transformers import AutoTokenizer, BertConfig, BertModel

    from core.models.embed import encoder_folder

    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    corpus = [{"_id": name, "title": "", "text": text} for name, text in CORPUS.items()]
    queries = [{"_id": name, "text": text, "metadata": {}} for name, text in QUERIES.items()]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    lines = [f"{query}\t{document}\t{grade}\n" for query, judged in QRELS.items() for document, grade in judged.items()]
    (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.5}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(**shape)).save_pretrained(tmp_path / "encoder")
    AutoTokenizer.from_pretrained(encoder_folder("bundled")).save_pretrained(tmp_path / "encoder")
    files = {"docs_dir": "corpus.jsonl", "questions": "queries.jsonl", "qrels": "test.tsv", "encoder": "encoder"}
    sizes = {"chunk_size": 16, "chunk_overlap": 0, "parent_size": 32}
    return RagConfig(**{name: str(tmp_path / file) for name, file in files.items()}, **sizes)


def test_figures_of_documents_are_pytrec_evals(config: RagConfig, tmp_path: Path) -> None:
    asked = read_questions(config)
    index = open_index(config, lambda done, of, words: None, lambda said: None)
    relevance = grades(index, asked, config)
    assert relevance.documents == QRELS and not relevance.passages
    rankings = {}
    for name in PIPELINES:
        found = rank(PIPELINES[name].load()(index, config), [each.question for each in asked])
        rankings[name] = {each.id: ranking for each, ranking in zip(asked, found, strict=True)}
    results.write(tmp_path / "retrieved.csv", table("r", rankings, relevance), results.Retrieved)
    rows = [row for row in score("r", rankings, relevance, asked, config, index) if row.level == "document" and row.category == results.ALL]
    assert len(rows) == 5 * 21
    for row in rows:
        assert row.value == pytest.approx(_theirs(tmp_path / "retrieved.csv", row.pipeline, row.metric), abs=1e-9), row


def _theirs(file: Path, pipeline: str, metric: str) -> float:
    """The mean over the judged questions; a question for which nothing was found counts 0."""
    run: dict[str, dict[str, float]] = {}
    with file.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["pipeline"] == pipeline:
                best = run.setdefault(row["question_id"], {})
                best[row["document"]] = max(best.get(row["document"], -1e9), float(row["score"]))
    name, _, k = metric.partition("@")
    known = {"hit_rate": "success", "recall": "recall", "precision": "P", "ndcg": "ndcg_cut", "map": "map_cut", "mrr": "recip_rank"}[name]
    values = pytrec_eval.RelevanceEvaluator(QRELS, {f"{known}.{k}" if k else known}).evaluate(run)
    return sum(each[f"{known}_{k}" if k else known] for each in values.values()) / len(QRELS)
