"""One frozen pydantic model per verb. It is the job file, the command line and the page's form.

The sentence under a field is its help on the page and in `--help`.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from core.errors import UserError
from core.evaluate import METRICS
from core.judge import BACKENDS
from core.merge import APART, ROUTERS, STRATEGIES
from core.registry import lookup
from core.train import METHODS

CHOICES = {"method": METHODS, "strategy": STRATEGIES, "router": ROUTERS, "backend": BACKENDS, "metrics": METRICS}
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

    adapters: Names = ()
    """Adapters to merge: names under adapters/, or PEFT folders, separated by commas."""
    weights: Numbers = ()
    """One weight per adapter, 0 = off, negative allowed. Empty: 1/n each."""
    strategy: str = "linear"
    """Merge strategy."""
    space: Literal["delta", "factor"] = "delta"
    """delta: on the full B A, exact. factor: on A and B apart, as peft's add_weighted_adapter does: approximate, to reproduce it."""
    density: float | None = Field(None, gt=0, le=1)
    """Share of a delta's entries that is kept, for strategies that drop some."""
    rank: int | None = Field(None, ge=1)
    """Rank of the merged adapter. Empty: the sum of the ranks, which keeps linear exact; for svd the largest of the ranks."""
    ties_lambda: float | None = Field(None, gt=0)
    """Strength of the agreeing mean, the lambda of the TIES paper. Empty: the sum of the absolute weights."""
    della_epsilon: float = Field(0.1, ge=0, lt=1)
    """Strategy della: width of the window around density over which the chances of being kept are spread, by magnitude."""
    breadcrumbs_gamma: float = Field(0.01, ge=0, lt=1)
    """Strategy breadcrumbs: share of a delta's entries that is cut as outliers, within 1 - density."""
    seed: Seed = 0
    """Seed of the entries that are dropped at random."""
    recipe: str | None = None
    """Do a merge again: a merged adapter's name or its run.json, or a mergekit YAML file. Says what the fields above would."""
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
    def _complete(self) -> "MergeConfig":
        if self.recipe:
            self._stands_alone()
            return self
        if not self.adapters:
            raise UserError("No adapters were given, so there is nothing to merge. Name at least one: adapters=a,b.")
        if self.weights and len(self.weights) != len(self.adapters):
            raise UserError(
                f"{len(self.weights)} weights were given for {len(self.adapters)} adapters. Give one weight per adapter, in the same order."
            )
        drops = "density" in STRATEGIES[self.strategy].fields
        if drops and self.density is None:
            raise UserError(
                f"Strategy {self.strategy} keeps a share of each delta's entries, and density was not given. Say how much: density=0.5."
            )
        if not drops and self.density not in (None, 1):
            raise UserError(f"Strategy {self.strategy} keeps every entry, so density={self.density:g} would change nothing. Leave it out.")
        if self.ties_lambda is not None and "ties_lambda" not in STRATEGIES[self.strategy].fields:
            raise UserError(
                f"Strategy {self.strategy} takes no mean of agreeing entries, so ties_lambda={self.ties_lambda:g} would change nothing. "
                "Leave it out."
            )
        if self.space == "factor":
            self._fits_factor_space()
        return self

    def _stands_alone(self) -> None:
        beside = ("recipe", "dtype", "name", "replace")
        if said := [name for name, field in type(self).model_fields.items() if name not in beside and getattr(self, name) != field.default]:
            raise UserError(
                f"recipe={self.recipe} says how to merge, and {', '.join(said)} was given beside it. Leave out the one or the other."
            )

    def _fits_factor_space(self) -> None:
        if self.strategy not in (*APART, "svd", "cat"):
            raise UserError(
                f"Strategy {self.strategy} needs whole deltas, and space=factor combines A and B apart, as PEFT does. Say space=delta."
            )
        if self.ties_lambda is not None:
            raise UserError(
                f"ties_lambda={self.ties_lambda:g} is unknown to PEFT, which space=factor follows. Leave it out, or say space=delta."
            )


class SearchConfig(ModelConfig):
    """Find the weights of a mix on validation loss, without a merge per trial where the strategy is linear."""

    adapters: Names = ()
    """Adapters to mix: names under adapters/, or PEFT folders, separated by commas."""
    strategy: Some = ("linear",)
    """Merge strategies to search, separated by commas; each gets its own trials. linear needs no merge, the others one per trial."""
    space: Literal["delta", "factor"] = "delta"
    """delta: on the full B A, exact. factor: on A and B apart, as peft's add_weighted_adapter does."""
    density: float | None = Field(None, gt=0, le=1)
    """Share of a delta's entries that is kept, for strategies that drop some."""
    rank: int | None = Field(None, ge=1)
    """Rank of the merged adapter. Empty: the sum of the ranks; for svd the largest of the ranks."""
    ties_lambda: float | None = Field(None, gt=0)
    """Strength of the agreeing mean, the lambda of the TIES paper. Empty: the sum of the absolute weights."""
    objective: Literal["mean", "worst"] = "mean"
    """What is made small: the mean of the categories' losses, or the loss of the worst category."""
    optimizer: Literal["cma", "coordinate"] = "cma"
    """cma: CMA-ES, for any number of adapters. coordinate: one weight at a time, up and down by steps that halve."""
    trials: int = Field(60, ge=0, le=10_000)
    """Mixes to try per strategy, beside the baselines: nothing, each adapter alone, equal weights of several strengths."""
    bounds: Numbers = (-0.5, 1.5)
    """Lowest and highest weight."""
    limit: int | None = Field(8, ge=1)
    """At most this many validation rows per category. Empty: all. Test rows are never read."""
    surface: Names = ()
    """Two of the adapters: also compute the loss over a grid of their weights, the others at the best weights found."""
    grid: int = Field(7, ge=2, le=101)
    """Points of the surface along each of the two weights, over the bounds."""
    seed: Seed = 0
    """Seed of the optimiser, of entries that a strategy drops at random, and of the bootstrap interval."""

    @model_validator(mode="after")
    def _complete(self) -> "SearchConfig":
        for strategy in self.strategy:
            self.mix(strategy, ())
        if len(self.bounds) != 2 or self.bounds[0] >= self.bounds[1]:
            said = ",".join(f"{bound:g}" for bound in self.bounds)
            raise UserError(f"bounds={said} is no lowest and highest weight. Give two numbers, the lower one first: bounds=-0.5,1.5.")
        if self.surface and (len(set(self.surface)) != 2 or len(self.surface) != 2 or not set(self.surface) <= set(self.adapters)):
            raise UserError(
                f"surface={','.join(self.surface)} should name two of the adapters that are mixed: {', '.join(self.adapters)}. "
                "Give two different ones, separated by a comma."
            )
        return self

    def mix(self, strategy: str, weights: tuple[float, ...]) -> MergeConfig:
        """The merge with these weights that one of the strategies makes."""
        settings = self.model_dump(include={"adapters", "space", "rank", "seed"})
        for name in ("density", "ties_lambda"):
            takers = [each for each in self.strategy if name in lookup(STRATEGIES, "merge strategy", each).fields]
            settings[name] = getattr(self, name) if strategy in takers or not takers else None
        return MergeConfig(**settings, strategy=strategy, weights=weights)


class ExportConfig(Config):
    """Add an adapter or a merge to the base model's weights: a whole model that transformers and vLLM load."""

    model: str = Field(min_length=1)
    """Adapter or merged adapter: a name, a PEFT folder, or a recipe (a merge's run.json, a mergekit YAML file)."""
    base_model: str | None = None
    """Base model to add it to: 'bundled', a local folder, or a hub id. Empty: the one that the adapter was made on."""
    base: Literal["unquantized", "quantized"] = "unquantized"
    """unquantized: the base model's own weights. quantized: what its NF4 weights stand for, on which QLoRA trains."""
    dtype: Literal["bf16", "fp32", "fp16"] = "bf16"
    """Precision of the saved weights."""
    name: str | None = None
    """Name under models/. Empty: '<model>-whole'."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; the model must fit there in fp32. auto: CUDA, then MPS, then CPU."""
    replace: bool = False
    """Replace a model of the same name."""


class ServeConfig(Config):
    """Keep the base model and its adapters in memory, and answer by any mix of them over HTTP, on this machine alone."""

    base_model: str = "bundled"
    """Base model: 'bundled' (SmolLM2-135M-Instruct), a local folder, or a hub id."""
    quantization: Literal["none", "nf4"] = "none"
    """Hold the base model in 4 bit (NF4 with double quantisation)."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Compute precision. auto: bf16 where the GPU has it, else fp16; fp32 on CPU."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute. auto: CUDA, then MPS, then CPU."""
    port: int = Field(0, ge=0, le=65535)
    """Port on 127.0.0.1. 0: one that is free."""
    side_by_side: int = Field(32, ge=1, le=1024)
    """Answers that are under way at once; more wait for a place."""
    idle_minutes: float = Field(15, gt=0)
    """Minutes without a question after which the base model leaves the memory; the next question loads it again."""


class RouteConfig(Config):
    """Make a route: for each question or token, a mix of the adapters that suit it, in place of one merge for everything."""

    adapters: Names = ()
    """Adapters to choose among: names under adapters/ or merged_adapters/, or PEFT folders, separated by commas."""
    router: str = "learned"
    """How a mix is picked."""
    data: str = "data/seven_schools.jsonl"
    """Dataset whose train questions say what leads where: a JSON, JSONL, CSV or Parquet file, or a Hugging Face hub id."""
    question_column: str | None = None
    """Column of the question. Empty: found by its name."""
    answer_column: str | None = None
    """Column of the answer. Empty: found by its name."""
    category_column: str | None = None
    """Column of the category. Empty: found by its name."""
    encoder: str = "bundled"
    """Encoder of the questions: 'bundled' (all-MiniLM-L6-v2), a folder, or a hub id."""
    temperature: float | None = Field(None, gt=0)
    """Low: nearly all weight on one adapter; high: nearly equal weights. Empty: chosen on validation rows; for arrow 1."""
    top_k: int | None = Field(None, ge=1)
    """At most this many adapters have a weight at once. Empty: all; for arrow 3."""
    name: str | None = None
    """Name under merged_adapters/. Empty: '<router>_route'."""
    replace: bool = False
    """Replace a route of the same name."""

    @field_validator("router")
    @classmethod
    def _known_router(cls, value: str) -> str:
        lookup(ROUTERS, "router", value)
        return value

    @model_validator(mode="after")
    def _complete(self) -> "RouteConfig":
        if not self.adapters:
            raise UserError("No adapters were given, so there is nothing to choose among. Name at least one: adapters=a,b.")
        if self.top_k and self.top_k > len(self.adapters):
            raise UserError(f"top_k={self.top_k} is more than the {len(self.adapters)} adapters that were given. Choose a smaller one.")
        return self


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
