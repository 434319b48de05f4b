"""Who may ask, how much and how often: middleware around an engine's application (ASGI).

Keys come from LYCEUM_API_KEY and are compared in constant time. Without keys the engine answers this machine alone, and no web page: a
page that a browser here has opened can neither reach it by a name of its own (DNS rebinding) nor from its own origin.
"""

import hmac
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import paths, read_only, runs
from core.config import ServeConfig
from core.config.serve import HOME_HOSTS, KEY_VARIABLE
from core.errors import UserError
from core.rates import Rates
from core.serve.refusals import Refusal, reply

SHORTEST_KEY = 16
"""Characters of a key; shorter ones can be guessed."""
MEGABYTE = 1_000_000
LOGGED = ("/v1/", "/openai/v1/")
OPEN_TO_VISITORS = ("/health", "/v1/", "/openai/v1/", "/console/shares")
"""How the addresses begin that an engine in read-only mode answers: what the playground asks, and OpenAI's API."""


@dataclass
class Traffic:
    """What came in since the start."""

    requests: int = 0
    """Those with a body; what only looks is not counted."""
    refused: int = 0
    """Replies with a status of 400 and above."""


def keys(config: ServeConfig) -> tuple[str, ...]:
    """The keys that this process was given. Raises UserError for short ones, and where other machines could ask without one."""
    said = os.environ.get(KEY_VARIABLE, "")
    found = tuple(each.strip() for each in said.split(",") if each.strip())
    made = f"export {KEY_VARIABLE}=\"$(python -c 'import secrets; print(secrets.token_urlsafe(24))')\""
    if (said.strip() and not found) or not all(re.fullmatch("[!-~]+", each) for each in found):
        raise UserError(
            f"{KEY_VARIABLE} holds no key that can be sent: letters, digits and signs of ASCII, without blanks. Make one: {made}"
        )
    if any(len(each) < SHORTEST_KEY for each in found):
        raise UserError(f"A key in {KEY_VARIABLE} has fewer than {SHORTEST_KEY} characters, so it could be guessed. Make one: {made}")
    if not found and config.host not in HOME_HOSTS:
        raise UserError(f"host={config.host} is open to other machines, and there is no key. Make one, then start again: {made}")
    return found


def guarded(app: FastAPI, config: ServeConfig, token: str) -> ASGIApp:
    """The application behind its guard. `token`: what this home's own processes show in place of a key."""
    return Guard(app, config, keys(config), token)


class Guard:
    """Lets requests in, or refuses them in OpenAI's shape."""

    def __init__(self, app: FastAPI, config: ServeConfig, keys: Sequence[str], token: str) -> None:
        self._app, self._config, self._token = app, config, token.encode()
        self._keys = [key.encode() for key in keys]
        self._rates = Rates(config.requests_per_minute) if config.requests_per_minute else None
        self._traffic: Traffic = app.state.traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._traffic.requests += scope["method"] == "POST"
        try:
            self._check_caller(scope)
            _check_open(scope["path"])
            body = await self._body(scope, receive)
            if body is not None and self._config.log_requests and scope["path"].startswith(LOGGED):
                _log(scope, body)
        except Refusal as refused:
            await reply(refused)(scope, receive, self._counted(send))
            return
        if body is None:
            return
        await self._app(scope, _again(body, receive), self._counted(send))

    def _check_caller(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        scheme, _, said_key = headers.get("authorization", "").partition(" ")
        said = said_key.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else b""
        if self._token and hmac.compare_digest(said, self._token):
            return
        if not self._keys:
            self._check_here(headers)
        elif not any([hmac.compare_digest(said, key) for key in self._keys]):
            raise Refusal(
                f"This engine needs a key, and the request has {'another' if said else 'none'}. Send it as 'Authorization: Bearer KEY'.",
                401,
                code="invalid_api_key",
            )
        caller = said.decode("latin-1") if self._keys else (scope.get("client") or ("",))[0]
        if self._rates and (wait := self._rates.wait(caller, time.monotonic())):
            limit = f"{self._config.requests_per_minute} requests a minute are the most that the engine takes from one caller"
            raise Refusal(f"{limit}. Ask again in {wait:.0f} s.", 429, code="rate_limit_exceeded", retry_after=wait)

    def _check_here(self, headers: Headers) -> None:
        """Without keys, only programs of this machine may ask."""
        origin = headers.get("origin", "")
        if origin and _host_of(origin) not in HOME_HOSTS:
            raise Refusal(f"Web pages of '{origin[:100]}' may not ask this engine. Ask from a program, or start it with a key.", 403)
        host = headers.get("host", "").rpartition("@")[2].partition(":")[0].rstrip(".").lower()
        if self._config.host in HOME_HOSTS and host not in HOME_HOSTS:
            raise Refusal(f"The host '{host[:100]}' is not this engine's. Ask it as {' or '.join(HOME_HOSTS)}.", 403)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None: the client hung up. Raises Refusal for one that is too large, unread where it says its length."""
        most = self._config.max_body_mb * MEGABYTE
        length = Headers(scope=scope).get("content-length", "0")
        found, more = bytearray(), True
        too_large = length.isdecimal() and int(length) > most
        while more and not too_large:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            found += message.get("body", b"")
            more, too_large = message.get("more_body", False), len(found) > most
        if too_large:
            raise Refusal(f"The request has more than the {self._config.max_body_mb:g} MB that the engine takes. Send less at once.", 413)
        return bytes(found)

    def _counted(self, send: Send) -> Send:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                self._traffic.refused += 1
            await send(message)

        return counted


def _check_open(path: str) -> None:
    """Raises Refusal for what is no visitor's to ask, such as an index of a folder's documents."""
    if read_only.active() and not path.startswith(OPEN_TO_VISITORS):
        raise Refusal(f"{path[:100]} is off: this engine is read-only ({read_only.VARIABLE}=1). It answers the playground.", 403)


def _host_of(origin: str) -> str | None:
    """None for one without a host, such as null, which browsers send for a page in a sandbox."""
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None


def _again(body: bytes, receive: Receive) -> Receive:
    """What was read already, and then what follows."""
    read = False

    async def again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _log(scope: Scope, body: bytes) -> None:
    """Only where it was asked for: one line of JSON for each request. Keys are never part of it."""
    line: dict[str, Any] = {"at": runs.now(), "path": scope["path"], "client": (scope.get("client") or ("",))[0]}
    line["body"] = body.decode("utf-8", "replace")
    place = paths.results() / ".requests.jsonl"
    try:
        with open(os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as log:
            log.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise Refusal(
            f"log_requests is on, and {place.name} can't be written ({error.strerror}). Make room, or start without it.", 503
        ) from None
