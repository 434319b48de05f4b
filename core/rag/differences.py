"""How alike two pipelines rank: overlap at k and rank-biased overlap, for each question, and what one finds that the other misses.

Rankings of 'parent' are of sections: with it, the other's passages count as the sections that they stand in.
"""

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np

from core import results
from core.config import RagConfig
from core.rag import NONE
from core.rag.rankings import Ranking, Rankings
from core.rag.relevance import Relevance
from core.rag.retrieval import means

P = 0.9
"""Persistence of rank-biased overlap: the first 10 places have 86 % of the weight."""
_PARENT = "parent"
_DEEP = 10


def overlaps(run_id: str, rankings: Rankings, config: RagConfig, relevance: Relevance | None = None) -> list[results.Overlap]:
    """Rows of overlaps.csv: of each pair of pipelines and question `overlap@k` (k: top_k, and 10) and `rbo`, and the means of questions.

    With `relevance` also `gold_missed_by_other@k`, for both orders of a pair: whether the first finds gold among its top_k, and the other
    none. A question for which neither finds anything has no overlap.
    """
    pipelines = [name for name in rankings if name != NONE]
    rows = []
    for ours, theirs in combinations(pipelines, 2):
        rows += _alike(run_id, ours, theirs, rankings, config)
    if relevance:
        for ours, theirs in permutations(pipelines, 2):
            rows += _missed(run_id, ours, theirs, rankings, relevance, config)
    return rows


def overlap(one: Sequence[str], other: Sequence[str], k: int) -> float:
    """Share of the first k that both have; of as many as the longer has, where that is fewer. At least one isn't empty."""
    return len({*one[:k]} & {*other[:k]}) / min(k, max(len(one), len(other)))


def rbo(one: Sequence[str], other: Sequence[str], p: float = P) -> float:
    """Rank-biased overlap, extrapolated beyond the end of both lists: RBO_ext, equation 32 of Webber, Moffat and Zobel 2010 (ACM TOIS 28).

    Lists without ties or repeats, of any two lengths, not both empty; 0 where one is empty.
    """
    short, long = sorted((one, other), key=len)
    s, depth = len(short), len(long)
    if not s:
        return 0.0
    shared = [len({*short[:d]} & {*long[:d]}) for d in range(1, depth + 1)]
    agreed = sum(x / d * p**d for d, x in enumerate(shared, 1))
    assumed = sum(shared[s - 1] * (d - s) / (s * d) * p**d for d in range(s + 1, depth + 1))
    beyond = (shared[-1] - shared[s - 1]) / depth + shared[s - 1] / s
    return (1 - p) / p * (agreed + assumed) + beyond * p**depth


def _alike(run_id: str, ours: str, theirs: str, rankings: Rankings, config: RagConfig) -> list[results.Overlap]:
    by_section = _PARENT in (ours, theirs)
    depths = sorted({config.top_k, _DEEP} if config.candidates >= _DEEP else {min(config.top_k, config.candidates)})
    metrics = [*(f"overlap@{k}" for k in depths), "rbo"]
    questions, values = [], []
    for question in (name for name in rankings[ours] if name in rankings[theirs]):
        one, other = (_ids(rankings[name][question], by_section) for name in (ours, theirs))
        if one or other:
            questions.append(question)
            values.append([*(overlap(one, other, k) for k in depths), rbo(one, other)])
    return _rows(run_id, (ours, theirs), questions, metrics, values, config)


def _missed(run_id: str, ours: str, theirs: str, rankings: Rankings, relevance: Relevance, config: RagConfig) -> list[results.Overlap]:
    """1 where `ours` finds a gold passage (section) among its top_k, and `theirs` doesn't."""
    questions = [question for question in rankings[ours] if question in relevance.passages and question in rankings[theirs]]
    values = [
        [float(_hit(rankings, ours, question, relevance, config.top_k) > _hit(rankings, theirs, question, relevance, config.top_k))]
        for question in questions
    ]
    return _rows(run_id, (ours, theirs), questions, [f"gold_missed_by_other@{config.top_k}"], values, config)


def _hit(rankings: Rankings, pipeline: str, question: str, relevance: Relevance, k: int) -> bool:
    gold = (relevance.sections if pipeline == _PARENT else relevance.passages)[question]
    return any(gold.get(each, 0) > 0 for each in rankings[pipeline][question].passages[:k])


def _ids(ranking: Ranking, by_section: bool) -> list[str]:
    return ranking.sections if by_section else ranking.passages


def _rows(
    run_id: str,
    pair: tuple[str, str],
    questions: Sequence[str],
    metrics: Sequence[str],
    values: Sequence[Sequence[float]],
    config: RagConfig,
) -> list[results.Overlap]:
    """A row for each question and metric, and the mean over questions first."""
    if not questions:
        return []
    rows = []
    for metric, mean in zip(metrics, means(np.array(values), config.seed), strict=True):
        low, high = (mean.low, mean.high) if mean.n > 1 else (None, None)
        rows.append(results.Overlap(run_id, *pair, results.ALL, metric, mean.value, low, high, mean.n))
    return rows + [
        results.Overlap(run_id, *pair, question, metric, value, None, None, 1)
        for question, measured in zip(questions, values, strict=True)
        for metric, value in zip(metrics, measured, strict=True)
    ]
