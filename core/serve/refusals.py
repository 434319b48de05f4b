"""Requests that get no answer: one sentence each, in the shape of OpenAI's errors (platform.openai.com/docs/guides/error-codes)."""

from typing import Any

from fastapi.responses import JSONResponse

from core.errors import UserError
from core.serve.engine import Engine


class Refusal(UserError):
    """A request that is not answered. `param`: the field that is at fault; `code`: OpenAI's word for the reason."""

    def __init__(self, message: str, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


def check_at_home(engine: Engine) -> None:
    """Raises Refusal where the engine has made room for a job."""
    if not engine.shares and (busy := engine.busy):
        raise Refusal(busy, 503)


def body(error: Exception) -> dict[str, Any]:
    """The JSON of an error."""
    kind = "invalid_request_error" if status(error) < 500 else "unavailable"
    plain = str(error).encode("utf-8", "backslashreplace").decode()  # half characters, such as \ud800, can't be sent
    named = {"param": error.param, "code": error.code} if isinstance(error, Refusal) else {"param": None, "code": None}
    return {"error": {"message": plain, "type": kind, **named}}


def status(error: Exception) -> int:
    """Of the reply."""
    return error.status if isinstance(error, Refusal) else 400


def reply(error: Exception) -> JSONResponse:
    """The whole reply."""
    return JSONResponse(body(error), status(error))
