"""Consistency of answers against figures computed apart."""

import math
from collections.abc import Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering

from core import results
from core.rag.consistency import ALIKE, consistency
from core.rag.entailment import Entailment

ANGLES = {"yes": 0.0, "indeed": 0.3, "sure": 0.6, "no": 2.0, "never": 2.4, "perhaps": 1.2}
"""Answers as directions in the plane."""


def embed(texts: Sequence[str]) -> np.ndarray:
    assert all(text.strip() for text in texts) and len(set(texts)) == len(texts), "each text once, and no empty one"
    return np.array([[3 * math.cos(ANGLES[text]), 3 * math.sin(ANGLES[text])] for text in texts])


class Labels:
    """An NLI model that knows the answers: yes, indeed and sure mean the same; no and never do; these two camps contradict."""

    name = "by hand"

    def probabilities(self, premises: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
        self.asked = list(zip(premises, hypotheses, strict=True))
        return np.array([self._of(*(text.split()[-1] for text in pair)) for pair in self.asked])

    def _of(self, one: str, other: str) -> list[float]:
        camps = [{"yes", "indeed", "sure"}, {"no", "never"}]
        if any({one, other} <= camp for camp in camps):
            return [0.9, 0.1, 0.0]
        if any(one in camp for camp in camps) and any(other in camp for camp in camps):
            return [0.0, 0.2, 0.8]
        return [0.7, 0.3, 0.0] if one == "perhaps" else [0.1, 0.9, 0.0]  # entailed one way only


GRID = {
    "q1": {
        "base + none": "yes",
        "base + dense": "yes",
        "base + bm25": "never",
        "own + none": "indeed",
        "own + dense": "no",
        "own + bm25": "",
    },
    "q2": {
        "base + none": "perhaps",
        "base + dense": "sure",
        "base + bm25": "indeed",
        "own + none": "",
        "own + dense": "",
        "own + bm25": "no",
    },
    "q3": {
        "base + none": "no",
        "base + dense": "no",
        "base + bm25": "no",
        "own + none": "sure",
        "own + dense": "sure",
        "own + bm25": "yes",
    },
}


@pytest.fixture
def grid(rag_answer: Any) -> list[results.RagAnswer]:
    return [rag_answer(cell, question, text) for question, cells in GRID.items() for cell, text in cells.items()]


def by_name(rows: Sequence[results.Consistency]) -> dict[tuple[str, str, str, str], results.Consistency]:
    found = {(row.over, row.held, row.question_id, row.metric): row for row in rows}
    assert len(found) == len(rows)
    return found


def cosine(one: str, other: str) -> float:
    if not one or not other:
        return float(one == other)
    return math.cos(ANGLES[one] - ANGLES[other])


def similarity(texts: Sequence[str]) -> float:
    return float(np.mean([cosine(one, other) for one, other in combinations(texts, 2)]))


def clusters(texts: Sequence[str]) -> int:
    apart = np.array([[1 - cosine(one, other) for other in texts] for one in texts])
    model = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=1 - ALIKE + 1e-12)
    return int(model.fit(apart).n_clusters_)


def groups() -> dict[tuple[str, str], list[list[str]]]:
    """(over, held) -> the answers to each question."""
    found = {}
    for over, held, cells in (
        ("pipelines", "base", ["base + none", "base + dense", "base + bm25"]),
        ("pipelines", "own", ["own + none", "own + dense", "own + bm25"]),
        ("generators", "none", ["base + none", "own + none"]),
        ("generators", "dense", ["base + dense", "own + dense"]),
        ("generators", "bm25", ["base + bm25", "own + bm25"]),
    ):
        found[over, held] = [[answers[cell] for cell in cells] for answers in GRID.values()]
    return found


def test_similarity_and_clusters_are_those_computed_apart(grid: list[results.RagAnswer]) -> None:
    rows = by_name(consistency(grid, embed, None, seed=3))
    assert {(over, held) for over, held, _, _ in rows} == set(groups())
    for (over, held), questions in groups().items():
        for metric, expected in (("similarity", similarity), ("clusters", clusters)):
            values = [expected(texts) for texts in questions]
            found = [rows[over, held, question, metric].value for question in GRID]
            assert found == pytest.approx(values, abs=1e-12), (over, held, metric)
            whole = rows[over, held, results.ALL, metric]
            drawn = np.random.default_rng(3).multinomial(3, [1 / 3] * 3, size=1000) @ np.array(values) / 3
            low, high = np.quantile(drawn, [0.025, 0.975])
            assert (whole.value, whole.n) == (pytest.approx(np.mean(values)), 3)
            assert (whole.low, whole.high) == (pytest.approx(low), pytest.approx(high))
    assert rows["pipelines", "own", "q1", "similarity"].n == 3 and rows["pipelines", "own", "q1", "clusters"].n == 3
    assert "cosine>=0.75" in rows["pipelines", "own", "q1", "clusters"].signature


def test_without_an_nli_model_contradictions_are_missing_with_a_reason(grid: list[results.RagAnswer]) -> None:
    missing = [row for row in consistency(grid, embed, None, seed=0) if row.metric == "contradictions"]
    assert {(row.question_id, row.value, row.reason) for row in missing} == {(results.ALL, None, "no nli_model is named")}
    assert len(missing) == 5


def test_an_nli_model_finds_contradictions_and_meanings(grid: list[results.RagAnswer]) -> None:
    labels = Labels()
    rows = by_name(consistency(grid, embed, labels, seed=0))  # type: ignore[arg-type]
    against = {question: rows["pipelines", "base", question, "contradictions"].value for question in GRID}
    assert against == {"q1": pytest.approx(2 / 3), "q2": 0.0, "q3": 0.0}
    assert rows["pipelines", "own", "q1", "contradictions"].value == pytest.approx(1 / 3), "an empty answer contradicts nothing"
    meanings = {question: rows["pipelines", "base", question, "clusters"].value for question in GRID}
    assert meanings == {"q1": 2.0, "q2": 2.0, "q3": 1.0}, "one that is entailed one way only is another meaning"
    assert rows["generators", "bm25", "q2", "contradictions"].value == 1.0
    assert rows["pipelines", "own", "q2", "clusters"].value == 2.0, "two empty answers are one"
    assert "nli:by hand" in rows["pipelines", "base", "q1", "clusters"].signature
    assert ("q1? yes", "q1? never") in labels.asked and ("q1? never", "q1? yes") in labels.asked
    assert len(set(labels.asked)) == len(labels.asked)
    assert not any(one == other for one, other in labels.asked)


def test_paraphrases_and_draws_are_held_against_the_plain_answer(rag_answer: Any) -> None:
    said = {"": "yes", "paraphrase 1": "sure", "paraphrase 2": "no", "draw 1": "indeed", "draw 2": "never"}
    for order in list(permutations(said))[::17]:
        rows = by_name(consistency([rag_answer("base + dense", "q1", said[variant], variant=variant) for variant in order], embed, None, 0))
        assert {key[:2] for key in rows} == {("paraphrases", "base + dense"), ("draws", "base + dense")}
        assert rows["paraphrases", "base + dense", "q1", "similarity"].value == pytest.approx(similarity(["yes", "sure", "no"]))
        assert rows["draws", "base + dense", "q1", "similarity"].value == pytest.approx(similarity(["yes", "indeed", "never"]))
        whole = rows["draws", "base + dense", results.ALL, "similarity"]
        assert (whole.n, whole.low, whole.high, whole.reason) == (1, None, None, "no interval: one question")


def test_where_nothing_changes_there_is_nothing(rag_answer: Any) -> None:
    assert consistency([rag_answer("base + dense", question, "yes") for question in ("q1", "q2")], embed, None, 0) == []
    assert consistency([], embed, None, 0) == []


def test_with_the_bundled_encoder_and_a_real_classifier(grid: list[results.RagAnswer], tiny_nli: Any, tmp_path: Any) -> None:
    from core.models.embed import Encoder

    encoder = Encoder()
    rows = consistency(grid, encoder.embed, Entailment(str(tiny_nli)), seed=0)
    table = results.read(results.write(tmp_path / "consistency.csv", rows, results.Consistency), results.Consistency)
    assert set(table["metric"]) == {"similarity", "clusters", "contradictions"} and table["value"].notna().all()
    vectors = encoder.embed(["yes", "never"]).astype(float)
    row = by_name(rows)["pipelines", "base", "q1", "similarity"]
    assert row.value == pytest.approx((1 + 2 * float(vectors[0] @ vectors[1])) / 3, abs=1e-5)


def test_answers_to_paraphrases_are_read_behind_the_plain_question(rag_answer: Any) -> None:
    labels = Labels()
    other = rag_answer("base + dense", "q1", "no", variant="paraphrase 1", asked="Put otherwise?")
    rows = by_name(consistency([other, rag_answer("base + dense", "q1", "yes", asked="Plain?")], embed, labels, 0))  # type: ignore[arg-type]
    assert sorted(labels.asked) == [("Plain? no", "Plain? yes"), ("Plain? yes", "Plain? no")]
    assert rows["paraphrases", "base + dense", "q1", "contradictions"].value == 1.0
