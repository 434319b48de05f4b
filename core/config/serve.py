"""The engine."""

from typing import Literal

from pydantic import Field, field_validator

from core.config.fields import Config

HOME_HOSTS = ("127.0.0.1", "localhost")
"""Hosts that only this machine reaches."""
KEY_VARIABLE = "LYCEUM_API_KEY"


class ServeConfig(Config):
    """Keep the base model and its adapters in memory, and answer over HTTP: OpenAI's API at /v1, and any mix."""

    engine: Literal["lyceum", "vllm"] = "lyceum"
    """Who computes. lyceum: our own, which mixes adapters for each request; vllm: vLLM, in an environment of its own (make vllm)."""
    base_model: str = "bundled"
    """Base model: 'bundled' (SmolLM2-135M-Instruct), a local folder, or a hub id."""
    quantization: Literal["none", "nf4"] = "none"
    """Hold the base model in 4 bit (NF4 with double quantisation)."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Compute precision. auto: bf16 where the GPU has it, else fp16; fp32 on CPU."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute. auto: CUDA, then MPS, then CPU."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but 127.0.0.1 is open to other machines, and needs a key in LYCEUM_API_KEY."""
    port: int = Field(0, ge=0, le=65535)
    """Port. 0: one that is free."""
    side_by_side: int = Field(64, ge=1, le=1024)
    """Answers that are under way at once; more wait for a place."""
    most_waiting: int = Field(1024, ge=1)
    """Answers that may wait for a place; a request beyond is refused with status 429."""
    requests_per_minute: int | None = Field(None, ge=1)
    """Requests of one key, or of one address where there are no keys, in a minute; more are refused with status 429. Empty: no limit."""
    max_body_mb: float = Field(8, gt=0)
    """Largest request in megabytes; larger ones are refused with status 413."""
    idle_minutes: float = Field(15, gt=0)
    """Minutes without a question after which the base model leaves the memory; the next question loads it again."""
    grace_seconds: float = Field(20, ge=0)
    """Seconds that answers under way may take to finish when the engine is ended; then they break off."""
    log_requests: bool = False
    """Write every request to /v1 with its body into results/.requests.jsonl. Off: no body is kept anywhere."""

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: str) -> str:
        if not host.strip() or any(each in host for each in "/@ "):
            raise ValueError(f"'{host}' is no host. Give an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them")
        return host
