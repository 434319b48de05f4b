"""How good an encoder's vectors are for these documents: embeddings.csv, and the map.

With gold: alignment, the mean squared distance of a question to its gold passages, and how well the nearest passages answer
(hit rate, MRR, nDCG). Without: uniformity, log of the mean of exp(-2 |x - y|²) over pairs of passages (both: Wang and Isola 2020,
arXiv:2005.10242; lower is better), and anisotropy, the mean cosine of two passages (Ethayarajh 2019, arXiv:1909.00512; near 0 is best).
Two encoders beside each other: the share of nearest neighbours that they have in common.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from core import results, stats
from core.config import RagConfig
from core.models.embed import Encoder
from core.rag import rank_measures
from core.rag.questions import Asked
from core.rag.rankings import best_first
from core.rag.relevance import Relevance
from core.rag.retrieval import described, means

if TYPE_CHECKING:
    from core.rag.index import Index

MOST = 4096
"""Passages of which all pairs are looked at; of more, so many are drawn by seed."""
NEIGHBOURS = 10
RETRIEVAL = ("mrr", "hit_rate@5", "ndcg@10")


@dataclass(frozen=True)
class Vectors:
    """What one encoder makes of passages and questions; all of length 1, single precision."""

    encoder: str
    passages: np.ndarray
    """[passages, dim], in the order of the index."""
    questions: np.ndarray
    """[questions, dim]: of those with gold passages."""


def figures(
    run_id: str, index: "Index", asked: Sequence[Asked], relevance: Relevance, config: RagConfig, say: Callable[[str], None]
) -> list[results.EmbeddingFigure]:
    """Rows of embeddings.csv: the index's encoder, each of `config.other_encoders` on the same passages, and each pair of them."""
    judged = [each for each in asked if each.id in relevance.passages]
    texts, questions = [passage.text for passage in index.passages], [each.question for each in judged]
    encoders = [Vectors(config.encoder, index.vectors(), _by_llama_index(index.embed_model, questions, index.vectors().shape[1]))]
    for name in dict.fromkeys(name for name in config.other_encoders if name != config.encoder):
        say(f"Embedding {len(texts):,} passages with {name}, to compare it with {config.encoder}.")
        encoder = Encoder(name)
        encoders.append(Vectors(name, encoder.embed(texts), encoder.embed(questions)))
    rows = [row for vectors in encoders for row in _figures(run_id, vectors, index, judged, relevance, config)]
    for one, other in combinations(encoders, 2):
        shared = neighbour_overlap(one.passages, other.passages, config.seed)
        signature = f"{NEIGHBOURS} nearest by cosine|{_drawn(len(texts), config.seed)}|{described(config)}"
        metric = f"neighbour_overlap@{NEIGHBOURS}"
        rows.append(_row(run_id, f"{one.encoder} | {other.encoder}", results.ALL, metric, shared, signature))
    return rows


def places(index: "Index") -> np.ndarray:
    """Each passage's place on the map, [n, 2]: the first two principal components of the vectors (Pearson 1901).

    Of each axis the end that lies farther out is positive. With fewer than three passages an axis may be all 0.
    """
    vectors = index.vectors().astype(np.float64)
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    mapped = centred @ axes[:, :-3:-1]
    farthest = mapped[np.abs(mapped).argmax(0), [0, 1]]
    return np.asarray(mapped * np.where(farthest < 0, -1, 1))


# --- formulas ---------------------------------------------------------------------------------------------------------


def uniformity(vectors: np.ndarray, seed: int) -> stats.Estimate:
    """Log of the mean of exp(-2 |x - y|²) over all pairs of at most `MOST` vectors [n, dim] of length 1: between -8 and 0.

    Interval: of a mean over pairs (Hoeffding 1948, Ann. Math. Stat. 19), carried over to its logarithm.
    """
    some = vectors[_draw(len(vectors), seed)].astype(np.float64)
    n = len(some)
    of_each = np.concatenate([np.exp(4 * (rows @ some.T) - 4).sum(1) for rows in np.array_split(some, -(-n // 512))])
    pairs = _over_pairs((of_each - 1) / (n - 1))
    error = (pairs.high - pairs.value) / pairs.value
    value = float(np.log(pairs.value))
    return stats.Estimate(value, value - error, value + error, n)


def anisotropy(vectors: np.ndarray) -> stats.Estimate:
    """Mean cosine over all pairs of vectors [n, dim] of length 1: between -1 and 1. Interval as of `uniformity`."""
    wide = vectors.astype(np.float64)
    return _over_pairs((wide @ wide.sum(0) - (wide * wide).sum(1)) / (len(wide) - 1))


def _over_pairs(of_each: np.ndarray) -> stats.Estimate:
    """Mean over all pairs, from each item's mean over its pairs, [n]."""
    half = stats.Z * 2 * float(of_each.std(ddof=1)) / np.sqrt(len(of_each))
    value = float(of_each.mean())
    return stats.Estimate(value, value - half, value + half, len(of_each))


def neighbour_overlap(one: np.ndarray, other: np.ndarray, seed: int) -> stats.Estimate:
    """Mean share of the nearest passages that two encoders have in common, [n, dim] each, over at most `MOST` passages; bootstrap."""
    some = _draw(len(one), seed)
    k = min(NEIGHBOURS, len(one) - 1)
    ours, theirs = (_nearest(vectors, some, k) for vectors in (one, other))
    shared = [len({*mine} & {*yours}) / k for mine, yours in zip(ours.tolist(), theirs.tolist(), strict=True)]
    return means(np.array(shared)[:, None], seed)[0]


def _nearest(vectors: np.ndarray, some: np.ndarray, k: int) -> np.ndarray:
    """[some, k] places of the nearest other vectors by cosine."""
    found = []
    for rows in np.array_split(some, -(-len(some) // 512)):
        cosines = vectors[rows] @ vectors.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        found.append(np.argpartition(-cosines, k - 1, axis=1)[:, :k])
    return np.concatenate(found)


def _draw(n: int, seed: int) -> np.ndarray:
    """Places of the passages that are looked at: all, or `MOST` drawn by seed."""
    return np.arange(n) if n <= MOST else np.sort(np.random.default_rng(seed).choice(n, MOST, replace=False))


def _drawn(n: int, seed: int) -> str:
    return "all passages" if n <= MOST else f"{MOST} of {n} passages,seed:{seed}"


# --- rows -------------------------------------------------------------------------------------------------------------


def _figures(
    run_id: str, vectors: Vectors, index: "Index", judged: Sequence[Asked], relevance: Relevance, config: RagConfig
) -> Iterator[results.EmbeddingFigure]:
    """One encoder's figures: of its passages, and of questions with gold by category."""
    described_ = described(config)
    n = len(vectors.passages)
    if n > 2:
        signature = f"t:2|{_drawn(n, config.seed)}|{described_}"
        yield _row(run_id, vectors.encoder, results.ALL, "uniformity", uniformity(vectors.passages, config.seed), signature)
        yield _row(run_id, vectors.encoder, results.ALL, "anisotropy", anisotropy(vectors.passages), f"all pairs|{described_}")
    if not judged:
        yield _row(run_id, vectors.encoder, results.ALL, "alignment", stats.NOTHING, described_, "no question has known gold passages")
        return
    metrics, values = _with_gold(vectors, index, judged, relevance, config)
    kinds = np.array([each.category for each in judged])
    for category in (results.ALL, *dict.fromkeys(kinds.tolist())):
        mine = values if category == results.ALL else values[kinds == category]
        for metric, estimate in zip(metrics, means(mine, config.seed), strict=True):
            signature = f"candidates:{config.candidates}|{described_}|bootstrap:{stats.RESAMPLES},seed:{config.seed},percentile"
            yield _row(run_id, vectors.encoder, category, metric, estimate, signature)


def _with_gold(
    vectors: Vectors, index: "Index", judged: Sequence[Asked], relevance: Relevance, config: RagConfig
) -> tuple[list[str], np.ndarray]:
    """Names, and [questions, figures]: alignment, and measures of the ranking by cosine over all passages."""
    ids = np.array([passage.id for passage in index.passages])
    number = {name: place for place, name in enumerate(ids.tolist())}
    measured = rank_measures.names(config.candidates)
    chosen = [place for place, name in enumerate(measured) if name in RETRIEVAL]
    values = []
    for each, question in zip(judged, vectors.questions, strict=True):
        grades = relevance.passages[each.id]
        cosines = vectors.passages @ question
        gold = [number[name] for name in grades]
        ranked = [name for name, _ in best_first(zip(ids.tolist(), cosines.tolist(), strict=True), config.candidates)]
        figures = rank_measures.values(ranked, grades, config.candidates)
        values.append([float(np.mean(2 - 2 * cosines[gold])), *(figures[place] for place in chosen)])
    return ["alignment", *(measured[place] for place in chosen)], np.array(values)


def _row(
    run_id: str, encoder: str, category: str, metric: str, estimate: stats.Estimate, signature: str, reason: str = ""
) -> results.EmbeddingFigure:
    low, high = (estimate.low, estimate.high) if np.isfinite([estimate.low, estimate.high]).all() else (None, None)
    value = estimate.value if np.isfinite(estimate.value) else None
    reason = reason or ("" if low is not None else "no interval: too few")
    return results.EmbeddingFigure(run_id, encoder, category, metric, value, estimate.n, low, high, signature, reason)


def _by_llama_index(model: Any, questions: Sequence[str], dim: int) -> np.ndarray:
    """[questions, dim], made as the dense pipeline makes them."""
    vectors = np.array([model.get_query_embedding(question) for question in questions], dtype=np.float32).reshape(len(questions), dim)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
