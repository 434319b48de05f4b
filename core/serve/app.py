"""The engine's HTTP side (FastAPI). A bad request gets a 4xx with one sentence, as OpenAI's servers shape it."""

import json
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import UserError
from core.serve import openai, rag, requests
from core.serve.engine import Engine
from core.serve.offered import adapter_names
from core.serve.rag import RagAsked
from core.serve.refusals import Refusal, check_at_home, reply
from core.serve.requests import AnswersAsked, LossesAsked
from core.serve.stream import Stream

GRACE_SECONDS = 2
"""How long connections may take to close in the end."""
HOSTS = ("127.0.0.1", "localhost")
KNOWN = "GET /health, GET /v1/models, POST /v1/chat/completions, POST /console/answers, POST /console/losses or POST /rag/answers"


class OwnHost:
    """Lets only requests to this machine's own names in, so that no web page reaches the engine by a name of its own (DNS rebinding)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        host = Headers(scope=scope).get("host", "") if scope["type"] == "http" else HOSTS[0]
        if host.partition(":")[0] in HOSTS:
            await self._app(scope, receive, send)
        else:
            refused = Refusal(f"The host '{host[:100]}' is not this engine's. Ask it as {' or '.join(HOSTS)}.")
            await reply(refused)(scope, receive, send)


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
    library = rag.Library(engine)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        library.end()

    app = FastAPI(title="Lyceum", docs_url=None, redoc_url=None, lifespan=living)
    app.add_middleware(OwnHost)
    app.add_exception_handler(UserError, lambda _, error: reply(error))
    app.add_exception_handler(RequestValidationError, _bad_fields)
    app.add_exception_handler(HTTPException, _misplaced)
    app.add_exception_handler(Exception, _bug)
    app.include_router(openai.router(engine), prefix="/v1")
    app.include_router(openai.router(engine, groq=True), prefix="/openai/v1")

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
        check_at_home(engine)
        asks = await run_in_threadpool(requests.asks, engine, asked)
        stream = Stream(asked.session)
        engine.answer(stream, asks)
        return _sent(engine, stream)

    @app.post("/console/losses")
    async def losses(asked: LossesAsked) -> StreamingResponse:
        check_at_home(engine)
        wanted, note = await run_in_threadpool(requests.losses, engine, asked)
        stream = Stream(asked.session)
        if note:
            stream.tell(note=note)
        engine.measure(stream, wanted)
        return _sent(engine, stream)

    @app.post("/rag/answers")
    async def rag_answers(asked: RagAsked) -> StreamingResponse:
        check_at_home(engine)
        plan = await run_in_threadpool(rag.plan, engine, asked)
        stream = Stream(asked.session)
        library.answer(stream, asked, plan)
        return _sent(engine, stream, library.leave)

    return app


def _sent(engine: Engine, stream: Stream, leave: Callable[[Stream], None] = lambda _: None) -> StreamingResponse:
    """The stream's events, server-sent. When the client hangs up, the engine lets go of them; `leave`: who else must know."""

    async def lines() -> AsyncIterator[str]:
        try:
            async for event in stream.events():
                yield f"data: {json.dumps(event)}\n\n"
        finally:
            leave(stream)
            engine.hang_up(stream)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _bad_fields(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return reply(Refusal(f"The request is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}."))
    field = ".".join(str(part) for part in first["loc"] if part != "body")
    why = first["msg"].removeprefix("Value error, ").rstrip(".")
    return reply(Refusal(f"{field or 'The request'} can't be used: {why}.", param=field or None))


async def _misplaced(request: Request, error: Exception) -> JSONResponse:
    """No such address or method, or a body that no parser takes."""
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        asked = f"{request.method} {request.url.path[:100]}"
        return reply(Refusal(f"{asked} is nothing that the engine answers. Ask for {KNOWN}.", error.status_code))
    why = error.detail.rstrip(".")
    return reply(Refusal(f"The request can't be read: {why}. Send plain JSON, without deep nesting.", error.status_code))


async def _bug(_: Request, error: Exception) -> JSONResponse:
    return reply(Refusal(f"The engine failed ({type(error).__name__}). This is a bug; its traceback is in results/.engine.log", 500))
