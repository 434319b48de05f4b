"""The addresses of vLLM's engine: OpenAI's API as Lyceum's engine has it, and what it says of itself.

Requests are read, checked and shaped by the same code; only who computes differs. What needs a bank of adapters is refused by name.
"""

from typing import Any

import psutil
from fastapi import FastAPI

from core import runs
from core.serve.application import application
from core.serve.refusals import Refusal
from core.serve.status import status
from core.serve.vllm.engine import Engine

_BANK_ALONE = {"/console/losses": "losses", "/console/shares": "adapters' shares in a token", "/rag/answers": "answers on documents"}
"""Addresses of Lyceum's engine alone, and what they give."""


def make(engine: Engine) -> FastAPI:
    """The application of vLLM's engine."""

    app, started_at = application(engine), runs.now()

    @app.get("/health")
    def health() -> dict[str, Any]:
        return status(engine, app.state.traffic, started_at) | _of_process(engine)

    for path, what in _BANK_ALONE.items():
        app.post(path)(_refusing(what))
    return app


def _of_process(engine: Engine) -> dict[str, Any]:
    """What /health says of the process: deaths, the end of its log, its limits, and the memory of all that belongs to it."""
    living = engine.watched.command
    return {
        "restarts": engine.watched.restarts,
        "log": engine.watched.log_lines,
        "version": engine.version,
        "max_lora_rank": living.max_lora_rank if living else None,
        "max_loras": living.max_loras if living else None,
        "memory_mb": sum(map(_resident_bytes, engine.watched.processes)) / 1e6,
    }


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _refusing(what: str) -> Any:
    async def refuse() -> None:
        raise Refusal(
            f"This engine is vLLM, and Lyceum's own gives {what}. Start that: python -m core serve --stop, then python -m core serve"
        )

    return refuse
