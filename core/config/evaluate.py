"""Evaluating and judging."""

from typing import Annotated, Literal

from pydantic import Field

from core.config.fields import Config, ModelConfig, Seed, Some, one_of
from core.evaluate import METRICS
from core.judge import BACKENDS


class EvaluateConfig(ModelConfig):
    """Let base model, adapters, merges and whole models answer the same held-out questions, and score the answers."""

    models: Some = ("all",)
    """Models: 'base', adapters, merges, routes, whole models, PEFT folders by name; 'all': base and everything made on this base model."""
    split: Literal["train", "validation", "test"] = "test"
    """Which rows are asked."""
    limit: int | None = Field(None, ge=1)
    """At most this many rows per category."""
    general: str | None = None
    """A dataset of other matters, asked as well, without the system prompt: what adapters made the base forget. Counts in no total."""
    metrics: Annotated[Some, one_of(METRICS, "metric")] = tuple(METRICS)
    """Metrics, separated by commas."""
    encoder: str = "bundled"
    """Encoder of BERTScore: 'bundled' (all-MiniLM-L6-v2), a folder, or a hub id."""
    max_new_tokens: int = Field(128, ge=1, le=8192)
    """Longest generated answer in tokens."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Answers generated side by side."""
    seed: Seed = 0
    """Seed of the bootstrap intervals."""


class JudgeConfig(Config):
    """Ask a judge which answer is closer in meaning to the reference: base, fine-tuned, or tie. Both orders."""

    answers: str = "last"
    """Answers to judge: a run id of an evaluation, a path to an answers.csv, or 'last'."""
    base: str = "base"
    """Model that the candidate is compared with."""
    candidate: str = "own"
    """Model to be judged, as named in the answers; 'own': each category's own adapter."""
    backend: Annotated[str, one_of(BACKENDS, "judge backend")] = "similarity"
    """Who judges."""
    base_url: str | None = None
    """Base URL of an OpenAI-compatible server, for backend openai."""
    judge_model: str | None = None
    """Model id of the judge. Empty: the backend's default."""
    prompt: str = "meaning"
    """Id of the prompt file in core/judge/prompts."""
    limit: int | None = Field(None, ge=1)
    """At most this many questions per category."""
    max_tokens: int = Field(256, ge=1, le=8192)
    """Token budget of a reply; reasoning models spend part of it on hidden text."""
    timeout_seconds: float = Field(60, gt=0)
    """How long to wait for one reply."""
    retries: int = Field(5, ge=0, le=100)
    """How often a call that was refused, broke off or timed out is tried again."""
    concurrency: int = Field(4, ge=1, le=256)
    """Calls under way at once."""
    seed: Seed = 0
    """Seed sent to the judge, and of the bootstrap interval."""
