"""How long answers are, and how many are empty or cut: figures that say why others are high or low."""

import numpy as np

from core.metrics.batch import Batch, Measure, mean

_WORDS = "words:split at blanks"


def lengths(batch: Batch) -> list[Measure]:
    """Mean words of an answer, words of all answers over words of all references, and the shares of answers that are empty and cut.

    The share that was cut at `max_new_tokens` is left out where it isn't known how answers ended.
    """
    answers, references = (np.array([len(text.split()) for text in texts], dtype=float) for texts in (batch.predictions, batch.references))
    empty = np.array([not text.strip() for text in batch.predictions], dtype=float)
    measures = [
        mean("answer_words", answers, f"mean|{_WORDS}"),
        Measure("length_ratio", np.stack([answers, references], axis=1), lambda sums: sums[:, 0] / sums[:, 1], f"sum/sum|{_WORDS}"),
        mean("empty_share", empty, "share|empty:nothing but blanks"),
    ]
    if batch.finishes:
        cut = np.array([finish == "length" for finish in batch.finishes], dtype=float)
        measures.append(mean("cut_share", cut, "share|cut:no end within max_new_tokens"))
    return measures
