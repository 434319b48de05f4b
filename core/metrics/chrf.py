"""Corpus chrF2 by sacreBLEU with its defaults, 0 to 100 (Popović 2015, chrF: character n-gram F-score, W15-3049)."""

import numpy as np
from sacrebleu.metrics.chrf import CHRF

from core.metrics.batch import Batch, Measure

_BETA = CHRF.BETA


def chrf(batch: Batch) -> list[Measure]:
    """Overlap of runs of one to six characters, recall counting twice as much as precision; kinder to word forms than BLEU."""
    scorer = CHRF()
    # One by one: of a corpus sacreBLEU holds every n-gram, some 100 kB an answer.
    pairs = zip(batch.predictions, batch.references, strict=True)
    statistics = [scorer._extract_corpus_statistics([answer], [[reference]])[0] for answer, reference in pairs]
    scorer.corpus_score(batch.predictions[:1], [batch.references[:1]])  # the signature needs to know the number of references
    return [Measure("chrf", np.array(statistics, dtype=float), _value, scorer.get_signature().format())]


def _value(sums: np.ndarray) -> np.ndarray:
    """Sums [m, 3 per order]: n-grams of answers, of references, and found. Orders that one side lacks are left out, as in sacreBLEU."""
    answers, references, found = (sums[:, place::3] for place in range(3))
    there = (answers > 0) & (references > 0)
    orders = np.maximum(there.sum(axis=1), 1)
    precision = np.where(there, found / np.where(there, answers, 1), 0).sum(axis=1) / orders
    recall = np.where(there, found / np.where(there, references, 1), 0).sum(axis=1) / orders
    below = _BETA**2 * precision + recall
    return np.where(below > 0, 100 * (1 + _BETA**2) * precision * recall / np.where(below > 0, below, 1), 0.0)
