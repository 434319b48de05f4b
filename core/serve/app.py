"""The engine's HTTP side (FastAPI). A bad request gets a 4xx with one sentence, as OpenAI's servers shape it."""

import json
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from core import paths
from core.errors import UserError
from core.serve import requests
from core.serve.engine import Engine
from core.serve.requests import AnswersAsked, LossesAsked
from core.serve.stream import Stream

GRACE_SECONDS = 2
"""How long connections may take to close in the end."""


class Away(Exception):
    """The engine has made room for somebody else."""


class Server(uvicorn.Server):
    """uvicorn, which ends an engine's streams as soon as the process is asked to end, and returns when it has."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(uvicorn.Config(make(engine), log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_SECONDS))
        self._engine = engine

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve. uvicorn raises the signals that it heeded once more in the end; by then they have done their work."""
        for asked in (signal.SIGTERM, signal.SIGINT):
            signal.signal(asked, signal.SIG_IGN)
        super().run(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Asked to end."""
        self._engine.leave()
        super().handle_exit(sig, frame)


def make(engine: Engine) -> FastAPI:
    """The application of an engine."""
    app = FastAPI(title="Lyceum", docs_url=None, redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app.add_exception_handler(UserError, lambda _, error: _said(str(error), 400))
    app.add_exception_handler(Away, lambda _, error: _said(str(error), 503))
    app.add_exception_handler(RequestValidationError, _bad_fields)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {
            "base_model": engine.config.base_model,
            "device": str(engine.device),
            "adapters": adapter_names(),
            "loaded": engine.loaded,
            "busy": engine.busy,
            "answers": engine.under_way,
        }

    @app.post("/console/answers")
    async def answers(asked: AnswersAsked) -> StreamingResponse:
        _check_at_home(engine)
        asks = await run_in_threadpool(requests.asks, engine, asked)
        stream = Stream(asked.session)
        engine.answer(stream, asks)
        return _sent(engine, stream)

    @app.post("/console/losses")
    async def losses(asked: LossesAsked) -> StreamingResponse:
        _check_at_home(engine)
        wanted = await run_in_threadpool(requests.losses, engine, asked)
        stream = Stream(asked.session)
        engine.measure(stream, wanted)
        return _sent(engine, stream)

    return app


def adapter_names() -> list[str]:
    """Adapters and merges on disk."""
    roots = (paths.adapters(), paths.merged_adapters())
    return [file.parent.name for root in roots for file in sorted(root.glob("*/adapter_config.json"))]


def _check_at_home(engine: Engine) -> None:
    if not engine.shares and (busy := engine.busy):
        raise Away(busy)


def _sent(engine: Engine, stream: Stream) -> StreamingResponse:
    """The stream's events, server-sent. When the client hangs up, the engine lets go of them."""

    async def lines() -> AsyncIterator[str]:
        try:
            async for event in stream.events():
                yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
        finally:
            engine.hang_up(stream)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _bad_fields(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _said(_sentence(error.errors()), 400)


def _sentence(errors: Sequence[Any]) -> str:
    """The first thing that is wrong."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"The request is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}."
    field = ".".join(str(part) for part in first["loc"] if part != "body") or "The request"
    return f"{field} can't be used: {first['msg'].removeprefix('Value error, ').rstrip('.')}."


def _said(message: str, status: int) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error" if status < 500 else "unavailable"}}, status)
