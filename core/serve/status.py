"""What an engine says of itself: GET /health."""

import os
from typing import Any

import psutil
import torch

from core.config import ServeConfig
from core.serve.computing import Computing
from core.serve.guard import Traffic, keys
from core.serve.offered import adapter_names


def status(engine: Computing, traffic: Traffic, started_at: str) -> dict[str, Any]:
    """Everything that the Serve page shows."""
    state, said = engine.state
    return {
        **{"engine": engine.config.engine, "base_model": engine.config.base_model, "device": str(engine.device), "started_at": started_at},
        **{"state": state, "said": said, "loaded": engine.loaded, "busy": engine.busy},
        **{"adapters": adapter_names(), "in_bank": [{"name": name, "rank": rank} for name, rank in engine.in_bank.items()]},
        **{"answers": engine.under_way, "waiting": engine.waiting, "places": engine.config.side_by_side},
        **{"tokens_per_second": engine.pace.per_second, "tokens": engine.pace.total, "memory_mb": _memory_mb(engine.device)},
        **{"requests": traffic.requests, "refused": traffic.refused, "limits": limits(engine.config, engine.context)},
    }


def limits(config: ServeConfig, context: int | None) -> dict[str, Any]:
    """What the engine takes at most, and from whom."""
    named = {"host", "port", "requests_per_minute", "max_body_mb", "most_waiting", "grace_seconds", "log_requests"}
    return {**config.model_dump(include=named), "key": bool(keys(config)), "context": context}


def _memory_mb(device: torch.device) -> float:
    """What this process holds: on a GPU there, else in main memory."""
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process(os.getpid()).memory_info().rss
    return float(held / 1e6)
