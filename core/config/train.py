"""Training, and what it would take."""

from typing import Annotated, Literal

from pydantic import Field

from core.config.fields import ModelConfig, Names, Seed, Some, one_of
from core.train import METHODS


class TrainConfig(ModelConfig):
    """Train one adapter per category in one pass, one on everything, or those you name."""

    method: Annotated[str, one_of(METHODS, "tuning method")] = "lora"
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


class PlanConfig(TrainConfig):
    """Say what a training run would take, before anything is loaded: parameters, memory, steps and time."""
