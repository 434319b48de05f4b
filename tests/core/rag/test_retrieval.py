"""Figures of pipelines against pytrec_eval, intervals and differences against a computation of their own."""

import random
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
import pytrec_eval

from core import results
from core.config import RagConfig
from core.rag import retrieval
from core.rag.questions import Asked
from core.rag.rankings import Found, Ranking, best_first
from core.rag.relevance import Relevance

CONFIG = RagConfig(question="?", candidates=12)
INDEX = SimpleNamespace(bytes=4096, passages=[None] * 30)
ASKED = [Asked(f"q{number}", "?", category="ab"[number % 2]) for number in range(20)]
TREC = {"hit_rate": "success", "recall": "recall", "precision": "P", "ndcg": "ndcg_cut", "map": "map_cut", "mrr": "recip_rank"}


def rankings(seed: int, most: int = 12) -> dict[str, Ranking]:
    """Thirty passages, three to a document, six to a section; scores with ties; one question finds nothing."""
    draw = random.Random(seed)
    found = {}
    for each in ASKED:
        scores = {f"p{number}": draw.choice([0.2, 0.4, draw.random()]) for number in draw.sample(range(30), draw.randint(4, most))}
        places = [Found(name, score, f"d{int(name[1:]) // 3}", f"s{int(name[1:]) // 6}") for name, score in best_first(scores)]
        found[each.id] = Ranking(places, 0.01 * (int(each.id[1:]) + 1))
    return found | {"q3": Ranking([], 0.04)}


def sections(seed: int) -> dict[str, Ranking]:
    return {
        question: Ranking([Found(each, 1 - place / 9, "d", each) for place, each in enumerate(ranking.sections)], 0.01)
        for question, ranking in rankings(seed).items()
    }


def relevance(seed: int = 5) -> Relevance:
    """Questions q0 to q17 have gold; documents are graded."""
    draw = random.Random(seed)
    known = [each.id for each in ASKED[:18]]
    return Relevance(
        {question: {f"p{number}": 1.0 for number in draw.sample(range(30), draw.randint(1, 5))} for question in known},
        {question: {f"s{number}": 1.0 for number in draw.sample(range(5), 2)} for question in known},
        {question: {f"d{number}": draw.choice([0, 1, 2]) for number in draw.sample(range(10), 4)} for question in known},
    )


FOUND = {"none": {each.id: Ranking([], 0.0) for each in ASKED}, "dense": rankings(1), "bm25": rankings(2), "parent": sections(1)}


def trec(run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, float]], metric: str) -> np.ndarray:
    """pytrec_eval's values of a measure, question by question in order; 0 where nothing was found."""
    name, _, k = metric.partition("@")
    judged = {question: {each: int(grade) for each, grade in grades.items()} for question, grades in qrels.items()}
    values = pytrec_eval.RelevanceEvaluator(judged, {f"{TREC[name]}.{k}" if k else TREC[name]}).evaluate(run)
    return np.array([values[each][f"{TREC[name]}_{k}" if k else TREC[name]] if run[each] else 0.0 for each in qrels])


def runs(pipeline: str, level: str) -> dict[str, dict[str, float]]:
    """A pipeline's rankings as scores; a document has that of its best passage."""
    scores: dict[str, dict[str, float]] = {}
    for question, ranking in FOUND[pipeline].items():
        scores[question] = {}
        for each in ranking.found:
            name = each.document if level == "document" else each.passage
            scores[question][name] = max(scores[question].get(name, -1.0), each.score)
    return scores


def grades(pipeline: str, level: str) -> dict[str, dict[str, float]]:
    known = relevance()
    return known.documents if level == "document" else known.sections if pipeline == "parent" else known.passages


@pytest.fixture(scope="module")
def rows() -> list[results.RetrievalScore]:
    return retrieval.score("r", FOUND, relevance(), ASKED, CONFIG, INDEX)


def test_every_figure_is_the_mean_of_trec_evals(rows: list[results.RetrievalScore]) -> None:
    figures = [row for row in rows if row.level]
    assert len(figures) == 3 * 3 * 2 * 21  # pipelines, categories with all, levels, measures
    for row in figures:
        values = trec(runs(row.pipeline, row.level), grades(row.pipeline, row.level), row.metric)
        mine = [place for place, each in enumerate(ASKED[:18]) if row.category in (results.ALL, each.category)]
        assert row.value == pytest.approx(values[mine].mean(), abs=1e-9), row
        assert row.n == len(mine)


def test_intervals_are_those_of_the_bootstrap_over_questions(rows: list[results.RetrievalScore]) -> None:
    [row] = [row for row in rows if (row.pipeline, row.category, row.level, row.metric) == ("dense", results.ALL, "passage", "ndcg@10")]
    values = trec(runs("dense", "passage"), grades("dense", "passage"), "ndcg@10")
    again = np.random.default_rng(123).choice(values, (20_000, len(values))).mean(1)
    assert (row.low, row.high) == pytest.approx(np.quantile(again, [0.025, 0.975]).tolist(), abs=0.015)
    assert "bootstrap:1000,seed:0" in row.signature and "candidates:12" in row.signature


def test_sections_are_what_parent_is_asked_for(rows: list[results.RetrievalScore]) -> None:
    signatures = {row.signature.split("|")[1] for row in rows if row.pipeline == "parent" and row.level == "passage"}
    assert signatures == {"sections"}


def test_seconds_and_bytes_stand_with_the_figures(rows: list[results.RetrievalScore]) -> None:
    costs = {(row.pipeline, row.metric): row for row in rows if not row.level}
    assert costs["dense", "seconds"].value == pytest.approx(0.105) and costs["dense", "seconds"].n == 20
    low, high = costs["dense", "seconds"].low, costs["dense", "seconds"].high
    assert (low, high) == pytest.approx((0.06, 0.15))  # the 6th and the 15th of twenty: 95.9 %
    assert costs["bm25", "index_bytes"].value == 4096 and not any(row.pipeline == "none" for row in rows)


def test_what_is_not_known_is_empty_with_a_reason() -> None:
    alone = [Asked("q0", "?")]
    rows = retrieval.score("r", {"dense": {"q0": FOUND["dense"]["q0"]}}, Relevance({}, {}, {"q0": {"d1": 1.0}}), alone, CONFIG, INDEX)
    for row in (row for row in rows if row.level):
        if row.level == "passage":
            assert row.value is None and row.n == 0 and "no question here has a passage" in row.reason
        else:
            assert row.value is not None and row.low is None and row.reason == "no interval: 1 question, fewer than 6"


def test_the_table_grades_what_it_can() -> None:
    found = {name: {"q0": FOUND[name]["q0"], "q19": FOUND[name]["q19"]} for name in ("dense", "parent")}
    rows = retrieval.table("r", found, relevance())
    assert [row.rank for row in rows[:3]] == [1, 2, 3]
    for row in rows:
        gold = relevance().sections if row.pipeline == "parent" else relevance().passages
        assert row.grade == (gold["q0"].get(row.passage, 0.0) if row.question_id == "q0" else None)
    by_document = retrieval.table("r", found, Relevance({}, {}, {"q0": {"d1": 2}}))
    assert {row.grade for row in by_document if row.question_id == "q0" and row.pipeline == "dense" and row.document == "d1"} <= {2.0}
    assert {row.grade for row in by_document if row.question_id == "q0" and row.document != "d1"} == {0.0}


def test_pipelines_are_compared_on_the_same_questions() -> None:
    rows = retrieval.compare("r", FOUND, relevance(), ASKED, CONFIG)
    pairs = {(row.model, row.baseline, row.metric.partition(" of ")[2]) for row in rows}
    both = {("bm25", "dense"), ("parent", "dense"), ("parent", "bm25")}
    assert pairs == {("bm25", "dense", "passages")} | {(*pair, "documents") for pair in both}
    [row] = [row for row in rows if (row.model, row.category, row.metric) == ("bm25", results.ALL, "mrr of passages")]
    ours, theirs = (trec(runs(name, "passage"), grades(name, "passage"), "mrr") for name in ("bm25", "dense"))
    differences = ours - theirs
    again = np.random.default_rng(7).choice(differences, (20_000, len(differences))).mean(1)
    assert row.difference == pytest.approx(differences.mean(), abs=1e-9)
    assert (row.low, row.high) == pytest.approx(np.quantile(again, [0.025, 0.975]).tolist(), abs=0.015)
    assert row.n == 18 and row.p is not None and row.p_holm is not None and row.p_holm >= row.p


def test_nothing_is_compared_without_gold_or_a_second_pipeline() -> None:
    assert retrieval.compare("r", FOUND, Relevance({}, {}, {}), ASKED, CONFIG) == []
    assert retrieval.compare("r", {"dense": FOUND["dense"]}, relevance(), ASKED, CONFIG) == []
    assert retrieval.compare("r", {"none": FOUND["none"]}, relevance(), ASKED, CONFIG) == []
