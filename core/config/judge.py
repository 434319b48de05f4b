"""Judging: by language models, by people, and of the judges themselves."""

from typing import Annotated, Literal

from pydantic import Field

from core.config.fields import Config, Names, Seed, Some, one_of
from core.judge import BACKENDS


class PairsConfig(Config):
    """Which answers are compared."""

    answers: str = "last"
    """Answers to compare: a run id of an evaluation or of rag, a path to an answers.csv, AlpacaEval outputs or a CSV of two, or 'last'."""
    base: str = "base"
    """Model that the candidate is compared with."""
    candidate: str = "own"
    """Model to be judged, as named in the answers; 'own': each category's own adapter."""
    limit: int | None = Field(None, ge=1)
    """At most this many questions per category."""
    seed: Seed = 0
    """Seed sent to the judge, of the order in which pairs are asked, and of bootstrap intervals."""


class JudgeConfig(PairsConfig):
    """Ask judges which of two nameless answers is better, in both orders, and audit the judges."""

    backend: Annotated[Some, one_of(BACKENDS, "judge backend")] = ("similarity",)
    """Who judges; several between commas."""
    judge_model: Names = ()
    """Model ids of the judges. For one backend any number, each is a judge; for several backends one each. Empty: the backend's default."""
    engine: Literal["lyceum", "vllm"] = "lyceum"
    """Which engine backend 'engine' starts where none runs yet; one that runs is asked, whichever it is."""
    base_url: str | None = None
    """Base URL of an OpenAI-compatible server, for backends openai and groq."""
    prompt: str = "meaning"
    """Id of the prompt file in core/judge/prompts; 'faithfulness' shows the passages that the candidate read, of a RAG run's answers."""
    repeats: int = Field(1, ge=1, le=100)
    """How often each judge is asked the same; more than once shows whether it agrees with itself."""
    max_tokens: int = Field(256, ge=1, le=8192)
    """Token budget of a reply; reasoning models spend part of it on hidden text."""
    timeout_seconds: float = Field(60, gt=0)
    """How long to wait for one reply."""
    retries: int = Field(5, ge=0, le=100)
    """How often a call that was refused, broke off or timed out is tried again."""
    concurrency: int = Field(4, ge=1, le=256)
    """Calls under way at once."""
    requests_per_minute: int | None = Field(None, ge=1)
    """The provider's limit. Empty: only what the server itself refuses."""
    tokens_per_minute: int | None = Field(None, ge=1)
    """The provider's limit."""
    requests_per_day: int | None = Field(None, ge=1)
    """The provider's limit; the run ends there and can be resumed the next day."""
    tokens_per_day: int | None = Field(None, ge=1)
    """The provider's limit; the run ends there and can be resumed the next day."""
    budget_tokens: int | None = Field(None, ge=1)
    """Stop asking before this many tokens are spent; what was not asked is said."""
    budget_money: float | None = Field(None, gt=0)
    """Stop asking before this much money is spent; needs the prices."""
    price_in: float | None = Field(None, ge=0)
    """Money for a million prompt tokens."""
    price_out: float | None = Field(None, ge=0)
    """Money for a million reply tokens."""
    stop_early: bool = False
    """Ask in random order and stop as soon as an interval that allows for looking all the time clears 50 %."""


class AuditConfig(Config):
    """Audit verdicts, ours or anybody's: order, length, failures, agreement. Foreign files become a run like any other."""

    verdicts: str = "last"
    """Verdicts to audit: a judge run's id, a file (verdicts.csv, AlpacaEval annotations, LLM Comparator, MT-bench judgments), or 'last'."""
    format: Literal["auto", "lyceum", "alpaca_eval", "llm_comparator", "mt_bench"] = "auto"
    """What the file is. auto: found by its columns."""
    against: str | None = None
    """Other verdicts on the same pairs or questions, as above: compared by McNemar's test."""
    seed: Seed = 0
    """Seed of the bootstrap intervals."""


class ArenaConfig(PairsConfig):
    """Open a round of the arena: people compare two nameless answers on the Arena page."""

    limit: int | None = Field(20, ge=1)
    """At most this many questions per category."""


class ClaimsConfig(Config):
    """Ask of your own runs what others claim: each figure beside yours, with its interval."""

    evaluation: str = "last"
    """Run id of the evaluation that the figures come from, or 'last'."""
    judges: Names = ()
    """Run ids of judge runs. Empty: the newest of each judge and candidate on that evaluation."""
