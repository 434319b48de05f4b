"""The engine as OpenAI's clients, and Groq's, know a server: models, chat and plain completions, whole or streamed.

https://platform.openai.com/docs/api-reference; Groq's client asks under /openai/v1, and reads a stream's tokens from `x_groq`.
Requests that come while others are under way share their passes through the base model.
"""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from core.serve import chat, offered, plain
from core.serve.chat import ChatAsked
from core.serve.computing import Computing
from core.serve.drawing import Drawn
from core.serve.plain import PlainAsked
from core.serve.refusals import STREAMED, Refusal, check_at_home
from core.serve.replies import ChatReply, PlainReply, Reply
from core.serve.rows import Ask
from core.serve.stream import Event, Stream, unless_hung_up


def router(engine: Computing, groq: bool = False) -> APIRouter:
    """The addresses. `groq`: streams say their tokens as Groq's do, too."""
    addresses = APIRouter()

    @addresses.get("/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": offered.models(engine)}

    @addresses.get("/models/{name}")
    def model(name: str) -> dict[str, Any]:
        return offered.model(engine, name)

    @addresses.post("/chat/completions", responses=STREAMED)
    async def chat_completions(asked: ChatAsked, request: Request) -> Response:
        check_at_home(engine)
        return await _answered(engine, asked, await run_in_threadpool(chat.asks, engine, asked), ChatReply, request, groq)

    @addresses.post("/completions", responses=STREAMED)
    async def plain_completions(asked: PlainAsked, request: Request) -> Response:
        check_at_home(engine)
        return await _answered(engine, asked, await run_in_threadpool(plain.asks, engine, asked), PlainReply, request, groq)

    return addresses


async def _answered(engine: Computing, asked: Drawn, asks: list[Ask], shape: type[Reply], request: Request, groq: bool) -> Response:
    _check_room(engine, len(asks))
    reply = shape(asked.model, asks, asked.answers, f"{engine.mixes.base_hash[:16]}-{asks[0].plan.identity}")
    stream = Stream(reply.id)
    engine.answer(stream, asks)
    if asked.stream:
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        sent = reply.chunks(_told(engine, stream), usage, groq)
        return StreamingResponse(sent, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
    return await unless_hung_up(reply.whole(_told(engine, stream)), request)


def _check_room(engine: Computing, answers: int) -> None:
    """Raises Refusal where too many answers would wait for a place."""
    most = engine.config.most_waiting
    if engine.under_way + answers > engine.config.side_by_side + most:
        raise Refusal(f"{most} answers wait for a place already. Ask again in a few seconds.", 429, code="queue_full", retry_after=5)


async def _told(engine: Computing, stream: Stream) -> AsyncIterator[Event]:
    """The stream's events. When nobody reads on, the engine lets go of them."""
    try:
        async for event in stream.events():
            yield event
    finally:
        engine.hang_up(stream)
