"""Corpus BLEU by sacreBLEU with its defaults, 0 to 100 (Post 2018, arXiv:1804.08771)."""

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from core.evaluate.batch import Batch, Measure


def bleu(batch: Batch) -> list[Measure]:
    """n-gram precision against the reference with a brevity penalty, over all answers together."""
    counter = BLEU(effective_order=True)  # changes a sentence's score, which is not used, and not its counts, which are
    counts = [
        counter.sentence_score(prediction, [reference]) for prediction, reference in zip(batch.predictions, batch.references, strict=True)
    ]
    statistics = np.array([[each.sys_len, each.ref_len, *each.counts, *each.totals] for each in counts], dtype=float)
    scorer = BLEU()
    scorer.corpus_score(batch.predictions[:1], [batch.references[:1]])  # the signature needs to know the number of references
    return [Measure("bleu", statistics, _value, scorer.get_signature().format())]


def _value(sums: np.ndarray) -> np.ndarray:
    """Sums [m, 2 + 4 + 4]: lengths of answers and references, n-grams found, n-grams there."""
    whole = sums.round().astype(int).tolist()
    return np.array([BLEU.compute_bleu(row[2:6], row[6:], row[0], row[1], smooth_method="exp").score for row in whole])
