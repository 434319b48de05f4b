"""The HTTP application of every engine (FastAPI): OpenAI's API, the console's answers, errors in OpenAI's shape, and a description of all.

What one engine alone has, it adds: app.py and vllm/gateway.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from core.errors import UserError
from core.serve import openai, requests
from core.serve.computing import Computing
from core.serve.guard import Traffic
from core.serve.refusals import RESPONSES, STREAMED, Refusal, check_at_home, reply
from core.serve.requests import AnswersAsked
from core.serve.stream import Stream, sent


def application(engine: Computing, lifespan: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """The addresses that every engine has. The traffic stands in `state.traffic`."""
    app = FastAPI(title="Lyceum", docs_url=None, redoc_url=None, lifespan=lifespan, responses=RESPONSES)
    app.state.traffic = Traffic()
    app.add_exception_handler(UserError, lambda _, error: reply(error))
    app.add_exception_handler(RequestValidationError, _bad_fields)
    app.add_exception_handler(HTTPException, _misplaced)
    app.add_exception_handler(Exception, _bug)
    described = app.openapi
    app.openapi = lambda: _without_422(described())  # type: ignore[method-assign]
    app.include_router(openai.router(engine), prefix="/v1")
    app.include_router(openai.router(engine, groq=True), prefix="/openai/v1")

    @app.post("/console/answers", responses=STREAMED)
    async def answers(asked: AnswersAsked) -> StreamingResponse:
        check_at_home(engine)
        asks = await run_in_threadpool(requests.asks, engine, asked)
        stream = Stream(asked.session)
        engine.answer(stream, asks)
        return sent(stream, engine.hang_up)

    return app


async def _bad_fields(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return reply(Refusal(f"The request is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}."))
    if first["loc"] == ("body",) and first["type"] == "model_attributes_type":
        return reply(Refusal("The request is no JSON object. Send one, with the header 'Content-Type: application/json'."))
    field = ".".join(str(part) for part in first["loc"] if part != "body")[:100]
    why = first["msg"].removeprefix("Value error, ").rstrip(".")
    return reply(Refusal(f"{field or 'The request'} can't be used: {why}.", param=field or None))


async def _misplaced(request: Request, error: Exception) -> JSONResponse:
    """No such address or method, or a body that no parser takes."""
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        asked = f"{request.method} {request.url.path[:100]}"
        known = ", ".join(_addresses(request.app))
        return reply(Refusal(f"{asked} is nothing that the engine answers. It answers: {known}.", error.status_code))
    why = error.detail.rstrip(".")
    return reply(Refusal(f"The request can't be read: {why}. Send plain JSON, without deep nesting.", error.status_code))


async def _bug(_: Request, error: Exception) -> JSONResponse:
    return reply(Refusal(f"The engine failed ({type(error).__name__}). This is a bug; its traceback is in results/.engine.log", 500))


def _addresses(app: FastAPI) -> Sequence[str]:
    """What can be asked for, each once: Groq's addresses are OpenAI's under another root."""
    described = app.openapi()["paths"]
    return [f"{method.upper()} {path}" for path, methods in described.items() if not path.startswith("/openai/") for method in methods]


def _without_422(described: dict[str, Any]) -> dict[str, Any]:
    """FastAPI declares a status that is never sent: bad fields are 400 here, as at OpenAI's."""
    for methods in described["paths"].values():
        for method in methods.values():
            method["responses"].pop("422", None)
    return described
