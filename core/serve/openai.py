"""The engine as OpenAI's clients, and Groq's, know a server: models, and chat completions, whole or streamed.

https://platform.openai.com/docs/api-reference/chat; Groq's client asks under /openai/v1, and reads a stream's tokens from `x_groq`.
Requests that come while others are under way share their passes through the base model.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from core.serve import chat, offered
from core.serve.answers import Ask
from core.serve.chat import ChatAsked
from core.serve.engine import Engine
from core.serve.refusals import Refusal, body, check_at_home
from core.serve.stream import Event, Stream

_HUNG_UP = 499
"""As nginx notes a client that did not wait; nobody reads it."""


def router(engine: Engine, groq: bool = False) -> APIRouter:
    """The addresses. `groq`: streams say their tokens as Groq's do, too."""
    addresses = APIRouter()

    @addresses.get("/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": offered.models(engine)}

    @addresses.get("/models/{name}")
    def model(name: str) -> dict[str, Any]:
        return offered.model(engine, name)

    @addresses.post("/chat/completions")
    async def completions(asked: ChatAsked, request: Request) -> Response:
        check_at_home(engine)
        ask = await run_in_threadpool(chat.ask, engine, asked)
        completion = Completion(asked.model, ask, f"{engine.mixes.base_hash[:16]}-{ask.plan.identity}")
        stream = Stream(completion.id)
        engine.answer(stream, [ask])
        if asked.stream:
            usage = bool(asked.stream_options and asked.stream_options.include_usage)
            sent = completion.chunks(_told(engine, stream), usage, groq)
            return StreamingResponse(sent, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        return await _unless_hung_up(completion.whole(_told(engine, stream)), request)

    return addresses


@dataclass
class Completion:
    """One answer in OpenAI's shapes."""

    model: str
    ask: Ask
    fingerprint: str
    """The same where the same seed gives the same answer."""
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    finish: str | None = None
    tokens: int = 0
    """Of the answer."""

    async def whole(self, events: AsyncIterator[Event]) -> Response:
        """The answer in one piece."""
        text = "".join([each async for each in self._texts(events)])
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        return JSONResponse(self._body("chat.completion", choices=[choice], usage=self._usage))

    async def chunks(self, events: AsyncIterator[Event], usage: bool, groq: bool) -> AsyncIterator[str]:
        """Server-sent events: who speaks, what is new, why it ended, then the tokens if they are asked for."""
        pending = {"usage": None} if usage else {}
        try:
            yield self._chunk({"role": "assistant", "content": ""}, **pending)
            async for text in self._texts(events):
                yield self._chunk({"content": text}, **pending)
            yield self._chunk({}, **pending, **({"x_groq": {"id": self.id, "usage": self._usage}} if groq else {}))
            if usage:
                yield _sent(self._body("chat.completion.chunk", choices=[], usage=self._usage))
        except Refusal as error:
            yield _sent(body(error))
        yield "data: [DONE]\n\n"

    async def _texts(self, events: AsyncIterator[Event]) -> AsyncIterator[str]:
        """What is new, until the end. Raises Refusal for an answer that breaks off."""
        async for event in events:
            if "error" in event:
                raise Refusal(event["error"], 400 if "key" in event else 503)
            if "text" in event:
                yield event["text"]
            elif "done" in event:
                self.finish, self.tokens = event["done"], event["tokens"]

    @property
    def _usage(self) -> dict[str, int]:
        prompt = len(self.ask.prompt)
        return {"prompt_tokens": prompt, "completion_tokens": self.tokens, "total_tokens": prompt + self.tokens}

    def _chunk(self, delta: dict[str, str], **fields: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": self.finish}
        return _sent(self._body("chat.completion.chunk", choices=[choice], **fields))

    def _body(self, kind: str, **fields: Any) -> dict[str, Any]:
        named = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**named, "system_fingerprint": self.fingerprint, **fields}


async def _told(engine: Engine, stream: Stream) -> AsyncIterator[Event]:
    """The stream's events. When nobody reads on, the engine lets go of them."""
    try:
        async for event in stream.events():
            yield event
    finally:
        engine.hang_up(stream)


async def _unless_hung_up(answering: Any, request: Request) -> Response:
    """The answer, unless the client hangs up before it is whole; then nobody computes on."""
    answer, leaving = asyncio.ensure_future(answering), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else Response(status_code=_HUNG_UP)
    finally:
        leaving.cancel()
        answer.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _sent(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
