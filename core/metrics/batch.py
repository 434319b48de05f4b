"""What a metric gets and what it gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from core import results

if TYPE_CHECKING:
    from core.models.load import BaseModel


@dataclass(frozen=True)
class Batch:
    """The answers of all models to all questions, collected once: one entry per (model, question) pair."""

    predictions: list[str]
    references: list[str]
    reference_losses: np.ndarray
    """[n] total loss of each reference answer, end token included, in nats."""
    reference_tokens: np.ndarray
    """[n] tokens of each reference answer, end token included."""
    model_signature: str
    """What the losses depend on: base model, quantisation, precision, library versions."""
    encoder: str
    """Encoder of BERTScore: 'bundled', a folder, or a hub id."""
    device: str
    """Where an encoder computes."""
    finishes: Sequence[str] = ()
    """stop or length, as in answers.csv; empty where that isn't known."""


def of_answers(answers: Sequence[results.Answer], base: "BaseModel", encoder: str, max_seq_length: int) -> Batch:
    """The batch of a table of answers, whose references were measured by `base`."""
    versions = "|".join(f"{name}:{version(name)}" for name in ("torch", "transformers"))
    precision = str(base.dtype).removeprefix("torch.")
    return Batch(
        predictions=[each.prediction for each in answers],
        references=[each.reference for each in answers],
        reference_losses=np.array([each.reference_loss for each in answers]),
        reference_tokens=np.array([each.reference_tokens for each in answers], dtype=float),
        model_signature=f"base:{base.hub_name}@{base.content_hash[:12]}|quantization:{base.quantization}|precision:{precision}"
        f"|max_seq_length:{max_seq_length}|{versions}",
        encoder=encoder,
        device=str(base.device),
        finishes=[each.finish for each in answers],
    )


@dataclass(frozen=True)
class Measure:
    """One figure, kept as sums: its value on any set of questions is `value` of the sum of their statistics.

    So a category, all categories together, and each bootstrap resample are the same formula over other sums.
    """

    metric: str
    """Name in scores.csv."""
    statistics: np.ndarray
    """[n, s] one row per entry of the batch."""
    value: Callable[[np.ndarray], np.ndarray]
    """Sums [m, s] -> values [m]."""
    signature: str
    """Library versions, tokeniser or encoder, layer and settings."""
    note: str = ""
    """What the person should know about these figures."""
    has: np.ndarray | None = None
    """[n] whether an entry has this figure at all; None: each has. The statistics of one without are zeros."""
    missing: str = ""
    """Why an entry may have none."""


def mean(metric: str, values: np.ndarray, signature: str, note: str = "") -> Measure:
    """A figure that is the mean of one value per question."""
    return Measure(metric, np.stack([values, np.ones_like(values)], axis=1), lambda sums: sums[:, 0] / sums[:, 1], signature, note)


def mean_of_some(metric: str, values: np.ndarray, signature: str, missing: str) -> Measure:
    """A figure that is the mean of one value per question, where NaN is a question that has none: `missing` says why."""
    has = ~np.isnan(values)
    statistics = np.stack([np.where(has, values, 0.0), has.astype(float)], axis=1)
    return Measure(metric, statistics, lambda sums: sums[:, 0] / sums[:, 1], signature, has=has, missing=missing)
