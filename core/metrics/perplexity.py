"""Perplexity = exp(sum of losses / sum of tokens) of the reference answers, end token included; never a mean of exponentials."""

import numpy as np

from core.metrics.batch import Batch, Measure


def perplexity(batch: Batch) -> list[Measure]:
    """How surprised a model is by the reference answers, given the questions; 1 is not at all."""
    statistics = np.stack([batch.reference_losses, batch.reference_tokens], axis=1)
    return [Measure("perplexity", statistics, _value, f"of:answer+end|{batch.model_signature}")]


def _value(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(sums[:, 0] / sums[:, 1]))
