"""Rankings against gold: retrieval_scores.csv with intervals over questions, retrieved.csv, and pipelines held against each other.

Level 'passage' asks for the gold passages ('parent' ranks sections, and is asked for sections that hold gold); level 'document' asks for
the gold documents, a document standing where its best passage does, so that all pipelines are asked for the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from core import results, stats
from core.config import RagConfig
from core.metrics import paired
from core.metrics.batch import mean
from core.rag import NONE, rank_measures
from core.rag.questions import Asked
from core.rag.rankings import Ranking, Rankings
from core.rag.relevance import Grades, Relevance
from core.wording import count

if TYPE_CHECKING:
    from core.rag.index import Index

PASSAGE, DOCUMENT = "passage", "document"
COMPARED = ("hit_rate@5", "mrr", "ndcg@10")
"""Measures by which pipelines are held against each other, as far as candidates reach."""
_PARENT = "parent"
_BASELINES = ("dense", "bm25")


def score(
    run_id: str, rankings: Rankings, relevance: Relevance, asked: Sequence[Asked], config: RagConfig, index: "Index"
) -> list[results.RetrievalScore]:
    """Rows of retrieval_scores.csv: each pipeline by rank_measures on each category, on all; then its seconds and the index's bytes."""
    pipelines = [name for name in rankings if name != NONE]
    categories = [results.ALL, *dict.fromkeys(each.category for each in asked)]
    rows: list[results.RetrievalScore] = []
    for category, level in product(categories, (PASSAGE, DOCUMENT)):
        mine = [each for each in asked if category in (results.ALL, each.category)]
        for pipeline in pipelines:
            grades = _grades(relevance, pipeline, level)
            judged = [each.id for each in mine if each.id in grades]
            rows += _figures(run_id, (pipeline, category, level), rankings[pipeline], judged, grades, config)
    return rows + [row for name in pipelines for row in _costs(run_id, name, rankings[name], index)]


def table(run_id: str, rankings: Rankings, relevance: Relevance) -> list[results.Retrieved]:
    """Rows of retrieved.csv. The grade is that of the passage (section); where only documents are judged, that of its document."""
    return [
        results.Retrieved(run_id, pipeline, question, place, each.passage, each.document, each.score, grade)
        for pipeline, found in rankings.items()
        for question, ranking in found.items()
        for place, (each, grade) in enumerate(
            zip(ranking.found, _graded(relevance, pipeline, question, ranking), strict=True),
            1,
        )
    ]


def compare(run_id: str, rankings: Rankings, relevance: Relevance, asked: Sequence[Asked], config: RagConfig) -> list[results.Comparison]:
    """Each pipeline less dense and less BM25 on the same questions, by `COMPARED`, on the documents that hold gold and on the passages.

    The metric's name says the level: 'ndcg@10 of passages'. 'parent' is compared by documents alone: its sections are no passages.
    """
    rows: list[results.Comparison] = []
    for level in (PASSAGE, DOCUMENT):
        pipelines = [name for name in rankings if name != NONE and not (level == PASSAGE and name == _PARENT)]
        baselines = [name for name in _BASELINES if name in pipelines]
        pairs = [(ours, theirs) for place, theirs in enumerate(baselines) for ours in pipelines if ours not in baselines[: place + 1]]
        grades = _grades(relevance, pipelines[0], level) if pipelines else {}
        judged = [each for each in asked if each.id in grades]
        if pairs and judged:
            rows += _compared(run_id, rankings, pipelines, pairs, level, judged, grades, config)
    return rows


# --- figures ----------------------------------------------------------------------------------------------------------


def _figures(
    run_id: str, names: tuple[str, str, str], found: Mapping[str, Ranking], judged: Sequence[str], grades: Grades, config: RagConfig
) -> Iterator[results.RetrievalScore]:
    """One row for each measure of rank_measures."""
    measured = rank_measures.names(config.candidates)
    pipeline, _, level = names
    unit = "section" if (pipeline, level) == (_PARENT, PASSAGE) else level
    signature = f"trec_eval|{unit}s|candidates:{config.candidates}|{described(config)}"
    if not judged:
        reason = f"no question here has a {level} that is known to hold its answer"
        yield from (results.RetrievalScore(run_id, *names, metric, None, 0, None, None, signature, reason) for metric in measured)
        return
    values = _values(found, judged, grades, level, config.candidates)
    for metric, estimate in zip(measured, means(values, config.seed), strict=True):
        few = f"no interval: {count(estimate.n, 'question')}, fewer than {stats.FEWEST}"
        low, high, reason = (estimate.low, estimate.high, "") if estimate.n >= stats.FEWEST else (None, None, few)
        signed = f"{signature}|bootstrap:{stats.RESAMPLES},seed:{config.seed},percentile"
        yield results.RetrievalScore(run_id, *names, metric, estimate.value, estimate.n, low, high, signed, reason)


def means(values: np.ndarray, seed: int) -> list[stats.Estimate]:
    """[questions, measures] -> the mean of each measure, with its bootstrap interval over questions (NaN for one question)."""
    n = len(values)
    if n == 1:
        return [stats.Estimate(float(value), np.nan, np.nan, 1) for value in values[0]]
    resampled = stats.draws(n, seed) @ values / n
    low, high = np.quantile(resampled, [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2], axis=0)
    estimates = np.stack([values.mean(0), low, high], axis=1).tolist()
    return [stats.Estimate(mean, least, most, n) for mean, least, most in estimates]


def described(config: RagConfig) -> str:
    """What else a figure depends on: how passages are cut, and the encoder."""
    return f"chunks:{config.chunker},{config.chunk_size},{config.chunk_overlap}|encoder:{config.encoder}"


def _values(found: Mapping[str, Ranking], judged: Sequence[str], grades: Grades, level: str, candidates: int) -> np.ndarray:
    """[questions, measures] of one pipeline."""
    ranked = [found[question].documents if level == DOCUMENT else found[question].passages for question in judged]
    return np.array([rank_measures.values(each, grades[question], candidates) for each, question in zip(ranked, judged, strict=True)])


def _grades(relevance: Relevance, pipeline: str, level: str) -> Grades:
    if level == DOCUMENT:
        return relevance.documents
    return relevance.sections if pipeline == _PARENT else relevance.passages


def _graded(relevance: Relevance, pipeline: str, question: str, ranking: Ranking) -> list[float | None]:
    """The grade of each place of a ranking; None where nothing is known of the question."""
    known = _grades(relevance, pipeline, PASSAGE).get(question)
    if known is not None:
        return [known.get(each.passage, 0.0) for each in ranking.found]
    documents = relevance.documents.get(question)
    return [None if documents is None else float(documents.get(each.document, 0.0)) for each in ranking.found]


# --- cost -------------------------------------------------------------------------------------------------------------


def _costs(run_id: str, pipeline: str, found: Mapping[str, Ranking], index: "Index") -> list[results.RetrievalScore]:
    """Median seconds to a ranking, with the interval of its order statistics, and the size of the index on disk."""
    seconds = sorted(ranking.seconds for ranking in found.values())
    names = (run_id, pipeline, results.ALL, "")
    bounds = _median_bounds(len(seconds))
    low, high = (seconds[bounds[0]], seconds[bounds[1]]) if bounds else (None, None)
    median = float(np.median(seconds)) if seconds else None
    reason = "" if bounds else "no interval: fewer than six questions"
    return [
        results.RetrievalScore(*names, "seconds", median, len(seconds), low, high, "median per question, one after the other", reason),
        results.RetrievalScore(*names, "index_bytes", float(index.bytes), len(index.passages), None, None, "all pipelines' together"),
    ]


def _median_bounds(n: int) -> tuple[int, int] | None:
    """Places in sorted values that hold the median between them at 95 % (Conover 1999, ch. 3.2); None for fewer than six."""
    from scipy.stats import binom

    low = int(binom.ppf((1 - stats.LEVEL) / 2, n, 0.5)) - 1
    return (low, n - 1 - low) if n >= 6 else None


# --- pipelines against each other -------------------------------------------------------------------------------------


def _compared(
    run_id: str,
    rankings: Rankings,
    pipelines: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    level: str,
    judged: Sequence[Asked],
    grades: Grades,
    config: RagConfig,
) -> list[results.Comparison]:
    """The paired test of core.metrics.paired; the answers of all pipelines stand one below the other."""
    ids, kinds = [each.id for each in judged], np.array([each.category for each in judged])
    values = np.concatenate([_values(rankings[name], ids, grades, level, config.candidates) for name in pipelines])
    borders = dict(zip(pipelines, pairwise(range(0, len(values) + 1, len(ids))), strict=True))
    rows = {category: np.flatnonzero(kinds == category) for category in dict.fromkeys(kinds.tolist())} | {results.ALL: np.arange(len(ids))}
    cells = [
        paired.Cell(ours, theirs, category, borders[ours][0] + places, borders[theirs][0] + places)
        for ours, theirs in pairs
        for category, places in rows.items()
    ]
    measured = rank_measures.names(config.candidates)
    chosen = [place for place, name in enumerate(measured) if name in COMPARED]
    measures = [mean(f"{measured[place]} of {level}s", values[:, place], "") for place in chosen]
    return paired.tested(run_id, cells, measures, config.seed)
