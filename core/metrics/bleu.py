"""Corpus BLEU by sacreBLEU with its defaults, 0 to 100 (Post 2018, arXiv:1804.08771)."""

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from core.metrics.batch import Batch, Measure


def bleu(batch: Batch) -> list[Measure]:
    """n-gram precision against the reference with a brevity penalty, over all answers together."""
    counter = BLEU(effective_order=True)  # changes a sentence's score, which is not used, and not its counts, which are
    counts = (
        counter.sentence_score(prediction, [reference]) for prediction, reference in zip(batch.predictions, batch.references, strict=True)
    )
    statistics = np.array([[each.sys_len, each.ref_len, *each.counts, *each.totals] for each in counts], dtype=float)
    scorer = BLEU()
    scorer.corpus_score(batch.predictions[:1], [batch.references[:1]])  # the signature needs to know the number of references
    return [Measure("bleu", statistics, _value, scorer.get_signature().format())]


def _value(sums: np.ndarray) -> np.ndarray:
    """Sums [m, 2 + 4 + 4]: lengths of answers and references, n-grams found, n-grams there. BLEU.compute_bleu for all of them at once."""
    answers, references, found, there = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:]
    missed = np.cumsum(found == 0, axis=1)  # its smoothing: each order without a hit counts half of the one before
    precisions = np.where(found > 0, found, 0.5**missed) / np.where(there > 0, there, 1)
    brevity = np.where(answers < references, np.exp(1 - references / np.where(answers > 0, answers, 1)), 1.0)
    scores = 100 * brevity * np.exp(np.log(precisions).mean(axis=1))
    return np.where((there > 0).all(axis=1) & (found > 0).any(axis=1), scores, 0.0)
