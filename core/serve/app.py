"""The addresses that Lyceum's engine alone has: losses, shares and RAG; and what it says of itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from core import runs
from core.serve import rag, requests, why
from core.serve.application import application
from core.serve.engine import Engine
from core.serve.rag import RagAsked
from core.serve.refusals import STREAMED, check_at_home
from core.serve.requests import LossesAsked
from core.serve.status import status
from core.serve.stream import Stream, sent, unless_hung_up
from core.serve.why import SharesAsked


def make(engine: Engine) -> FastAPI:
    """The application of an engine."""
    library = rag.Library(engine)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        library.end()

    app, started_at = application(engine, living), runs.now()

    @app.get("/health")
    def health() -> dict[str, Any]:
        return status(engine, app.state.traffic, started_at)

    @app.post("/console/losses", responses=STREAMED)
    async def losses(asked: LossesAsked) -> StreamingResponse:
        check_at_home(engine)
        wanted, note = await run_in_threadpool(requests.losses, engine, asked)
        stream = Stream(asked.session)
        if note:
            stream.tell(note=note)
        engine.measure(stream, wanted)
        return sent(stream, engine.hang_up)

    @app.post("/console/shares")
    async def shares(asked: SharesAsked, request: Request) -> Response:
        check_at_home(engine)
        return await unless_hung_up(why.shares(engine, asked, await run_in_threadpool(why.read, engine, asked)), request)

    @app.post("/rag/answers", responses=STREAMED)
    async def rag_answers(asked: RagAsked) -> StreamingResponse:
        check_at_home(engine)
        plan = await run_in_threadpool(rag.plan, engine, asked)
        stream = Stream(asked.session)
        library.answer(stream, asked, plan)
        return sent(stream, library.leave)

    return app
