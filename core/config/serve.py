"""The engine."""

from typing import Literal

from pydantic import Field

from core.config.fields import Config


class ServeConfig(Config):
    """Keep the base model and its adapters in memory, and answer over HTTP, on this machine alone: OpenAI's API at /v1, and any mix."""

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
