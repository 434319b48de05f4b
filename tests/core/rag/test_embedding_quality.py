"""Figures of vectors against scipy's and sklearn's, on made-up vectors."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from core import results
from core.config import RagConfig
from core.rag import embedding_quality
from core.rag.embedding_quality import anisotropy, figures, neighbour_overlap, places, uniformity
from core.rag.questions import Asked
from core.rag.relevance import Relevance


def vectors(n: int, dim: int = 8, seed: int = 0, towards: float = 0.5) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(n, dim)) + towards
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def index(found: np.ndarray, questions: dict[str, np.ndarray] | None = None) -> Any:
    """An index of made-up passages; its model knows the vectors of some questions."""
    passages = [SimpleNamespace(id=f"p{number:03}", text=f"text {number}") for number in range(len(found))]
    model = SimpleNamespace(get_query_embedding=lambda text: (questions or {})[text].tolist())
    return SimpleNamespace(passages=passages, vectors=lambda: found, embed_model=model)


def test_uniformity_and_anisotropy_are_means_over_all_pairs() -> None:
    some = vectors(60)
    assert uniformity(some, 0).value == pytest.approx(np.log(np.exp(-2 * pdist(some) ** 2).mean()), abs=1e-6)
    assert anisotropy(some).value == pytest.approx(1 - pdist(some, "cosine").mean(), abs=1e-6)


def test_extremes() -> None:
    same, cross = np.tile(vectors(1), (5, 1)), np.concatenate([np.eye(4), -np.eye(4)]).astype(np.float32)
    assert uniformity(same, 0).value == pytest.approx(0, abs=1e-5) and anisotropy(same).value == pytest.approx(1)
    assert anisotropy(cross).value == pytest.approx(-1 / 7)


@pytest.mark.parametrize("figure", [lambda some: uniformity(some, 0), anisotropy])
def test_intervals_hold_the_figure_of_the_whole_collection(figure: Any) -> None:
    whole = figure(vectors(4000, seed=99)).value
    estimates = [figure(vectors(80, seed=seed)) for seed in range(200)]
    assert 0.9 <= np.mean([each.low <= whole <= each.high for each in estimates]) <= 0.99


def test_many_passages_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    some = vectors(300)
    whole = uniformity(some, 0)
    monkeypatch.setattr(embedding_quality, "MOST", 200)
    drawn = uniformity(some, 0)
    assert drawn.n == 200 and drawn != whole and drawn.value == pytest.approx(whole.value, abs=0.1)
    assert uniformity(some, 0) == drawn != uniformity(some, 1)


def test_neighbours_are_counted_as_sklearn_finds_them() -> None:
    from sklearn.neighbors import NearestNeighbors

    one, other = vectors(50, seed=1), vectors(50, seed=1) + 0.3 * vectors(50, seed=2)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    near = [NearestNeighbors(n_neighbors=11, metric="cosine").fit(each).kneighbors(each)[1][:, 1:] for each in (one, other)]
    expected = np.mean([len({*ours} & {*theirs}) / 10 for ours, theirs in zip(*(each.tolist() for each in near), strict=True)])
    estimate = neighbour_overlap(one, other, 0)
    assert 0.2 < expected < 0.9 and estimate.value == pytest.approx(expected) and estimate.low < expected < estimate.high
    assert neighbour_overlap(one, one, 0).value == 1


def test_the_map_is_sklearns_pca() -> None:
    from sklearn.decomposition import PCA

    some = vectors(40)
    expected = PCA(2, svd_solver="full").fit_transform(some.astype(np.float64))
    found = places(index(some))
    assert found.shape == (40, 2)
    assert np.abs(found) == pytest.approx(np.abs(expected), abs=1e-6)
    assert (found[np.abs(found).argmax(0), [0, 1]] > 0).all()


def test_the_map_of_one_passage_is_its_middle() -> None:
    assert places(index(vectors(1))) == pytest.approx(np.zeros((1, 2)), abs=1e-6)


QUESTIONS = vectors(6, seed=3)
ASKED = [Asked(f"q{number}", f"question {number}", category="ab"[number % 2]) for number in range(6)]
GOLD = {"q0": {"p001": 1.0}, "q1": {"p002": 1.0, "p003": 1.0}, "q2": {"p030": 1.0}, "q3": {"p017": 1.0}}
CONFIG = RagConfig(question="?", candidates=20)


def rows(found: np.ndarray, relevance: dict[str, dict[str, float]], **fields: Any) -> dict[tuple[str, str, str], results.EmbeddingFigure]:
    known = {each.question: vector for each, vector in zip(ASKED, QUESTIONS, strict=True)}
    config = CONFIG.model_copy(update=fields)
    made = figures("r", index(found, known), ASKED, Relevance(relevance, {}, {}), config, lambda said: None)
    return {(row.encoder, row.category, row.metric): row for row in made}


def test_alignment_is_the_squared_distance_of_a_question_to_its_gold() -> None:
    some = vectors(40)
    expected = [
        np.mean([((some[int(name[1:])] - QUESTIONS[int(question[1:])]) ** 2).sum() for name in gold]) for question, gold in GOLD.items()
    ]
    found = rows(some, GOLD)
    assert found["bundled", results.ALL, "alignment"].value == pytest.approx(np.mean(expected), abs=1e-5)
    assert found["bundled", "b", "alignment"].value == pytest.approx(np.mean([expected[1], expected[3]]), abs=1e-5)
    assert found["bundled", results.ALL, "alignment"].n == 4 and found["bundled", "b", "alignment"].low is not None


def test_the_nearest_passages_are_scored_against_gold() -> None:
    some = vectors(40)
    ranks = []
    for question, gold in GOLD.items():
        order = np.argsort(-(some @ QUESTIONS[int(question[1:])])).tolist()
        ranks.append(min(order.index(int(name[1:])) for name in gold) + 1)
    found = rows(some, GOLD)
    assert found["bundled", results.ALL, "mrr"].value == pytest.approx(np.mean([1 / rank if rank <= 20 else 0 for rank in ranks]))
    assert found["bundled", results.ALL, "hit_rate@5"].value == pytest.approx(np.mean([rank <= 5 for rank in ranks]))
    assert ("bundled", results.ALL, "ndcg@10") in found and 0 < min(ranks) <= 20


def test_without_gold_only_the_vectors_are_looked_at() -> None:
    found = rows(vectors(40), {})
    assert found["bundled", results.ALL, "alignment"].value is None
    assert "no question has known gold" in found["bundled", results.ALL, "alignment"].reason
    assert {metric for _, _, metric in found} == {"alignment", "uniformity", "anisotropy"}
    assert {metric for _, _, metric in rows(vectors(2), {})} == {"alignment"}


@pytest.mark.bundled
def test_another_encoder_stands_beside_the_first_on_the_same_passages() -> None:
    from core.models.embed import Encoder

    other = Encoder("bundled").embed([f"text {number}" for number in range(40)])
    some = vectors(40, dim=384)
    known = {each.question: vectors(1, dim=384, seed=place)[0] for place, each in enumerate(ASKED)}
    config = CONFIG.model_copy(update={"encoder": "first", "other_encoders": ("bundled", "first")})
    made = figures("r", index(some, known), ASKED, Relevance(GOLD, {}, {}), config, lambda said: None)
    found = {(row.encoder, row.category, row.metric): row for row in made}
    assert found["first | bundled", results.ALL, "neighbour_overlap@10"].value == pytest.approx(neighbour_overlap(some, other, 0).value)
    assert found["bundled", results.ALL, "uniformity"].value == pytest.approx(uniformity(other, 0).value, abs=1e-5)
    assert {encoder for encoder, _, _ in found} == {"first", "bundled", "first | bundled"}
