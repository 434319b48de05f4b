"""ROUGE-1, ROUGE-2 and ROUGE-L F-measures by Google's rouge_score (Lin 2004), each the mean over the answers."""

from importlib.metadata import version

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

from core.metrics.batch import Batch, Measure, mean

_KINDS = ("rouge1", "rouge2", "rougeL")


def rouge(batch: Batch) -> list[Measure]:
    """Overlap of words, word pairs and the longest common subsequence. No stemming, which is the library's default.

    Its tokeniser knows the letters a-z and digits only: answers in other scripts score 0.
    """
    scorer = RougeScorer(_KINDS, use_stemmer=False)
    scores = [scorer.score(reference, prediction) for reference, prediction in zip(batch.references, batch.predictions, strict=True)]
    signature = f"f-measure|mean|tok:a-z0-9|stemmer:no|rouge_score:{version('rouge_score')}"
    return [mean(kind, np.array([score[kind].fmeasure for score in scores]), signature) for kind in _KINDS]
