"""Evaluating."""

from typing import Annotated, Literal

from pydantic import Field

from core.config.fields import ModelConfig, Names, Seed, Some, one_of
from core.metrics import METRICS


class EvaluateConfig(ModelConfig):
    """Let base model, adapters, merges and whole models answer the same held-out questions, and score the answers."""

    models: Some = ("all",)
    """Models: 'base', adapters, merges, routes, whole models, PEFT folders by name; 'all': base and everything made on this base model."""
    split: Literal["train", "validation", "test", "all"] = "test"
    """Which rows are asked. all: every row, for questions that nobody trained on, such as those saved in the playground."""
    categories: Names = ()
    """Categories that are asked. Empty: all."""
    limit: int | None = Field(None, ge=1)
    """At most this many rows per category."""
    general: str | None = None
    """A dataset of other matters, asked as well, without the system prompt: what adapters made the base forget. Counts in no total."""
    metrics: Annotated[Some, one_of(METRICS, "metric")] = tuple(METRICS)
    """Metrics, separated by commas."""
    encoder: str = "bundled"
    """Encoder of BERTScore: 'bundled' (all-MiniLM-L6-v2), a folder, or a hub id."""
    engine: Literal["lyceum", "vllm"] = "lyceum"
    """Who writes the answers. vllm: vLLM (make vllm), the one that runs or one for this run; losses are computed here either way."""
    max_new_tokens: int = Field(128, ge=1, le=8192)
    """Longest generated answer in tokens."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Answers generated side by side."""
    seed: Seed = 0
    """Seed of the bootstrap intervals."""
