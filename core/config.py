"""One frozen pydantic model per verb. It is the job file, the command line and the page's form.

The sentence under a field is its help on the page and in `--help`.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from core.errors import UserError
from core.evaluate import METRICS
from core.judge import BACKENDS
from core.merge import STRATEGIES
from core.registry import lookup
from core.train import METHODS

CHOICES = {"method": METHODS, "strategy": STRATEGIES, "backend": BACKENDS, "metrics": METRICS}
"""Fields whose values are the rows of a table."""


def _listed(value: Any) -> Any:
    """A list given as text: JSON, or parts between commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Some = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""Names, at least one."""
Numbers = Annotated[tuple[float, ...], BeforeValidator(_listed)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Config(BaseModel):
    """What all configs share: they can't be changed, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DataConfig(Config):
    """Read a question-and-answer dataset, split it, and report on it before anything trains."""

    data: str = "data/seven_schools.jsonl"
    """Dataset: a JSON, JSONL, CSV or Parquet file, or a Hugging Face hub id."""
    question_column: str | None = None
    """Column of the question. Empty: found by its name."""
    answer_column: str | None = None
    """Column of the answer. Empty: found by its name."""
    category_column: str | None = None
    """Column of the category. Empty: found by its name; none there: one category."""
    system_prompt: str | None = None
    """System message of every prompt, for every model; {category} stands for the row's category. Empty: the chat template's own."""
    base_model: str = "bundled"
    """Base model: 'bundled' (SmolLM2-135M-Instruct), a local folder, or a hub id."""
    max_seq_length: int = Field(512, ge=16, le=131072)
    """Longest row in tokens, prompt and answer together; longer answers are cut."""


class ModelConfig(DataConfig):
    """What the verbs share that compute on the base model."""

    quantization: Literal["none", "nf4"] = "none"
    """Hold the base model in 4 bit (NF4 with double quantisation). Method qlora always does."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Compute precision. auto: bf16 where the GPU has it, else fp16; fp32 on CPU."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute. auto: CUDA, then MPS, then CPU."""


class TrainConfig(ModelConfig):
    """Train one adapter per category in one pass, one on everything, or those you name."""

    method: str = "lora"
    """Tuning method."""
    categories: Names = ("each",)
    """'each': one adapter per category; 'pooled': one adapter on everything; or the categories to train, separated by commas."""
    r: int = Field(8, ge=1, le=1024)
    """Rank of the adapters."""
    lora_alpha: float = Field(16, gt=0)
    """LoRA alpha: the delta is scaled by lora_alpha / r."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of a target layer's inputs that the adapter does not see in training."""
    target_modules: Some = ("auto",)
    """Names of the linear layers that get an adapter; 'auto': the attention's (q_proj, k_proj, v_proj, o_proj in a Llama); 'all-linear'."""
    learning_rate: float = Field(5e-4, gt=0, le=1)
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Learning-rate schedule after the warm-up."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of an adapter's steps over which its learning rate rises from 0."""
    warmup_steps: int | None = Field(None, ge=0)
    """Steps of the warm-up; wins over warmup_ratio."""
    epochs: float = Field(3, gt=0, le=1000)
    """Passes over each adapter's training rows."""
    max_steps: int | None = Field(None, ge=1)
    """Stop each adapter after this many optimiser steps, whatever the epochs say."""
    batch_size: int = Field(4, ge=1, le=4096)
    """Rows per adapter in one optimiser step."""
    gradient_accumulation: int = Field(1, ge=1, le=4096)
    """Multiplies batch_size: rows per adapter and step = batch_size x gradient_accumulation."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW weight decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Largest gradient norm of an adapter; larger gradients are scaled down to it."""
    early_stop: int | None = Field(None, ge=1)
    """Stop an adapter when its validation loss has not improved for this many epochs."""
    keep: Literal["best", "last"] = "best"
    """Which weights are saved: those of the epoch with the lowest validation loss, or the last."""
    loraplus_lr_ratio: float = Field(16.0, gt=0)
    """Method lora_plus: how many times faster B learns than A."""
    delta_lambda: float = Field(2.0, ge=0)
    """Method delta_lora: the share of each change of B A that also goes into W (the paper's lambda)."""
    delta_start: int = Field(500, ge=0)
    """Method delta_lora: steps before W starts to change (the paper's K)."""
    vera_d_initial: float = 0.1
    """Method vera: start value of the vector d."""
    gradient_checkpointing: bool | None = None
    """Recompute activations in the backward pass: less memory, a third slower. Empty: where memory is short."""
    micro_batch_tokens: int | None = Field(None, ge=16)
    """Tokens of one forward and backward pass; the gradients of a step add up over passes. Empty: chosen by device and memory."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the saved adapter; bf16 halves the files."""
    seed: Seed = 0
    """Seed of the adapters' start and of the row order."""
    name: str | None = None
    """Adapter name; with several adapters '<name>-<category>'. Empty: '<category>-<method>'."""
    replace: bool = False
    """Replace adapters of the same name."""

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        lookup(METHODS, "tuning method", value)
        return value


class PlanConfig(TrainConfig):
    """Say what a training run would take, before anything is loaded: parameters, memory, steps and time."""


class MergeConfig(Config):
    """Merge adapters into one, by a strategy and weights."""

    adapters: Names
    """Adapters to merge: names under adapters/, or PEFT folders, separated by commas."""
    weights: Numbers = ()
    """One weight per adapter, 0 = off, negative allowed. Empty: 1/n each."""
    strategy: str = "linear"
    """Merge strategy."""
    rank: int | None = Field(None, ge=1)
    """Rank of the merged adapter, for strategies that truncate. Empty: the largest rank among the adapters."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the saved adapter."""
    name: str | None = None
    """Name under merged_adapters/. Empty: '<strategy>_merged_adapter'."""
    replace: bool = False
    """Replace a merged adapter of the same name."""

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, value: str) -> str:
        lookup(STRATEGIES, "merge strategy", value)
        return value

    @model_validator(mode="after")
    def _one_weight_each(self) -> "MergeConfig":
        if not self.adapters:
            raise UserError("No adapters were given, so there is nothing to merge. Name at least one: adapters=a,b.")
        if self.weights and len(self.weights) != len(self.adapters):
            raise UserError(
                f"{len(self.weights)} weights were given for {len(self.adapters)} adapters. Give one weight per adapter, in the same order."
            )
        return self


class EvaluateConfig(ModelConfig):
    """Let base model, adapters, merges and whole models answer the same held-out questions, and score the answers."""

    models: Some = ("all",)
    """Models: 'base', adapters, merges, whole models, PEFT folders by name; 'all': base and everything trained on this base model."""
    split: Literal["train", "validation", "test"] = "test"
    """Which rows are asked."""
    limit: int | None = Field(None, ge=1)
    """At most this many rows per category."""
    metrics: Some = tuple(METRICS)
    """Metrics, separated by commas."""
    encoder: str = "bundled"
    """Encoder of BERTScore: 'bundled' (all-MiniLM-L6-v2), a folder, or a hub id."""
    max_new_tokens: int = Field(128, ge=1, le=8192)
    """Longest generated answer in tokens."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Answers generated side by side."""
    seed: Seed = 0
    """Seed of the bootstrap intervals."""

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            lookup(METRICS, "metric", name)
        return value


class JudgeConfig(Config):
    """Ask a judge which answer is closer in meaning to the reference: base, fine-tuned, or tie. Both orders."""

    answers: str = "last"
    """Answers to judge: a run id of an evaluation, a path to an answers.csv, or 'last'."""
    base: str = "base"
    """Model that the candidate is compared with."""
    candidate: str = "own"
    """Model to be judged, as named in the answers; 'own': each category's own adapter."""
    backend: str = "similarity"
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

    @field_validator("backend")
    @classmethod
    def _known_backend(cls, value: str) -> str:
        lookup(BACKENDS, "judge backend", value)
        return value


class DemoConfig(Config):
    """The whole road on the seven schools, small enough for a laptop: train, merge, evaluate, judge."""

    seed: Seed = 0
    """Seed of the run."""
    name: str = "demo"
    """What the demo's adapters and merges start with."""
