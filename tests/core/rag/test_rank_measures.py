"""Our measures are trec_eval's, on any rankings and judgements."""

import random

import pytest
import pytrec_eval

from core.rag import rank_measures
from core.rag.rankings import Found, Ranking, best_first

TREC = {"hit_rate": "success", "recall": "recall", "precision": "P", "ndcg": "ndcg_cut", "map": "map_cut"}


def theirs(run: dict[str, dict[str, float]], qrels: dict[str, dict[str, int]], candidates: int) -> dict[str, list[float]]:
    """pytrec_eval's figures in our order, by question."""
    asked = {f"{name}.{k}" for name in TREC.values() for k in rank_measures.CUTOFFS} | {"recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    names = [name.partition("@") for name in rank_measures.names(candidates)]
    return {
        question: [values["recip_rank" if not k else f"{TREC[name]}_{k}"] for name, _, k in names] for question, values in found.items()
    }


@pytest.mark.parametrize("seed", range(40))
def test_random_runs_with_ties_unjudged_and_graded_documents_score_as_in_trec_eval(seed: int) -> None:
    draw = random.Random(seed)
    candidates = draw.choice([1, 3, 7, 20, 50])
    documents = [f"{draw.choice('aZé9')}{number}" for number in range(60)]
    qrels = {
        f"q{number}": {each: draw.choice([-1, 0, 0, 1, 1, 2, 3]) for each in draw.sample(documents, draw.choice([1, 4, 30]))}
        for number in range(12)
    }
    qrels["nothing relevant"] = dict.fromkeys(documents[:3], 0)
    run = {
        question: {each: draw.choice([0.1, 0.25, 0.5, draw.random()]) for each in draw.sample(documents, draw.randint(1, candidates))}
        for question in qrels
    }
    expected = theirs(run, qrels, candidates)
    assert expected.keys() == qrels.keys()
    for question, scores in run.items():
        ranked = [name for name, _ in best_first(scores)]
        assert rank_measures.values(ranked, qrels[question], candidates) == pytest.approx(expected[question], abs=1e-9)


def test_scores_that_differ_beyond_single_precision_are_ties_and_the_later_id_comes_first() -> None:
    run = {"q": {"a": 1.0 + 1e-9, "b": 1.0, "c": 0.5}}
    assert [name for name, _ in best_first(run["q"])] == ["b", "a", "c"]
    assert theirs(run, {"q": {"b": 1}}, 3)["q"][0] == 1.0


def test_measures_reach_as_far_as_the_candidates() -> None:
    assert rank_measures.cutoffs(4) == (1, 3)
    assert [name for name in rank_measures.names(20) if name.endswith("@10")] == [f"{name}@10" for name in TREC]
    assert len(rank_measures.values(["a"], {"a": 1}, 20)) == len(rank_measures.names(20))


def test_nothing_found_counts_zero() -> None:
    assert rank_measures.values([], {"a": 1}, 10) == [0.0] * len(rank_measures.names(10))


def test_a_document_stands_where_its_best_passage_does() -> None:
    found = [Found("p1", 0.9, "x", "s1"), Found("p2", 0.8, "y", "s2"), Found("p3", 0.7, "x", "s1"), Found("p4", 0.8, "z", "s4")]
    ranking = Ranking(found, 0.1)
    assert ranking.documents == ["x", "z", "y"]
    assert ranking.sections == ["s1", "s2", "s4"]
