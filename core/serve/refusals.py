"""Requests that get no answer: one sentence each, in the shape of OpenAI's errors (platform.openai.com/docs/guides/error-codes)."""

from math import ceil
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from core.errors import UserError
from core.serve.computing import Computing

BUSY_SECONDS = 5
"""After which a client may ask an engine again that has made room or is starting."""
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""OpenAI's words for the type of an error, by status."""


class Refusal(UserError):
    """A request that is not answered. `param`: the field that is at fault; `code`: OpenAI's word for the reason; `retry_after`: seconds."""

    def __init__(
        self, message: str, status: int = 400, param: str | None = None, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after


class Fault(BaseModel):
    """What is wrong with a request."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The JSON of an error."""

    error: Fault


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": why}
    for status, why in {
        400: "The request can't be answered as it is",
        401: "A key is missing or wrong",
        403: "Not from here",
        404: "No such model or address",
        405: "No such method here",
        413: "Too large",
        429: "Too many requests, or too many answers waiting",
        500: "A bug",
        503: "The engine makes room for a job, or starts again",
    }.items()
}
"""What the description of the API (OpenAPI) says of errors."""

STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "object"}}}}}
"""Likewise, of answers that may come as server-sent events."""


def check_at_home(engine: Computing) -> None:
    """Raises Refusal where the engine has made room for a job."""
    if not engine.beside_jobs and (busy := engine.busy):
        raise Refusal(busy, 503, retry_after=BUSY_SECONDS)


def body(error: Exception) -> dict[str, Any]:
    """The JSON of an error."""
    kind = KINDS.get(status(error), "invalid_request_error" if status(error) < 500 else "unavailable")
    plain = str(error).encode("utf-8", "backslashreplace").decode()  # half characters, such as \ud800, can't be sent
    named = {"param": error.param, "code": error.code} if isinstance(error, Refusal) else {"param": None, "code": None}
    return {"error": {"message": plain, "type": kind, **named}}


def status(error: Exception) -> int:
    """Of the reply."""
    return error.status if isinstance(error, Refusal) else 400


def reply(error: Exception) -> JSONResponse:
    """The whole reply."""
    wait = error.retry_after if isinstance(error, Refusal) else None
    headers = {"Retry-After": str(ceil(wait))} if wait is not None else {}
    return JSONResponse(body(error), status(error), headers | ({"WWW-Authenticate": "Bearer"} if status(error) == 401 else {}))
