"""Clients that ask at once, read whole answers and streams, and break off; and somebody who comes and goes with an adapter."""

import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from benchmarks.load_answers import SEEDS, Asked, Referee, Shelf
from core.serve import client, resident

BREAKS = 0.1
"""Share of requests that break off."""
CHANGE_SECONDS = 0.7
"""Between two changes of the guest, on average."""
PATIENCE = 120.0
"""Seconds for one answer."""
ADDRESS = "/v1/chat/completions"


@dataclass(frozen=True)
class Result:
    """How a request ended."""

    verdict: str
    """right, near tie, wrong, broken off, or refused: the adapter was away."""
    seconds: float
    tokens: int = 0
    said: str = ""
    """What is wrong."""


class Crowd:
    """Clients of one engine."""

    def __init__(self, engine: resident.Engine, rules: Referee, shelf: Shelf, seed: int) -> None:
        self.results: list[Result] = []
        self._engine, self._rules, self._shelf, self._die = engine, rules, shelf, random.Random(seed)
        self._until = 0.0

    async def run(self, clients: int, seconds: float) -> None:
        """All of them, for so long; each asks one question after another."""
        self._until = time.monotonic() + seconds
        async with self._asking() as asking:
            changing = asyncio.ensure_future(self._change())
            await asyncio.gather(*(self._client(asking) for _ in range(clients)))
            changing.cancel()
        self._shelf.put(0)

    async def burst(self, requests: int) -> None:
        """So many at once, none of which breaks off."""
        async with self._asking() as asking:
            await asyncio.gather(*(self._ask(asking, self._next()) for _ in range(requests)))

    def _asking(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        return httpx.AsyncClient(base_url=self._engine.address, timeout=PATIENCE, limits=limits, **client.plainly(self._engine))

    async def _client(self, asking: httpx.AsyncClient) -> None:
        while time.monotonic() < self._until:
            if self._die.random() < BREAKS:
                await self._break_off(asking, self._next())
            else:
                await self._ask(asking, self._next())

    def _next(self) -> Asked:
        pick, rules = self._die.choice, self._rules
        return Asked(pick(rules.models), pick(rules.questions), pick(SEEDS), self._die.randint(1, rules.tokens), self._die.random() < 0.5)

    async def _ask(self, asking: httpx.AsyncClient, asked: Asked) -> None:
        began = time.monotonic()
        try:
            status, text, tokens = await (self._streamed if asked.stream else self._whole)(asking, asked)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            self._note("wrong", began, said=f"{asked}: {type(error).__name__}: {error}")
            return
        if status == 200:
            verdict = self._rules.verdict(asked, text, tokens, began, time.monotonic())
            expected = [each.text(asked.tokens) for each in self._rules.right(asked, began, time.monotonic())]
            self._note(verdict, began, tokens, "" if verdict != "wrong" else f"{asked} says {text!r}, not {expected}")
        elif self._rules.away(asked, began, time.monotonic()):
            self._note("refused: the adapter was away", began)
        else:
            self._note("wrong", began, said=f"{asked}: status {status}: {text}")

    def _note(self, verdict: str, began: float, tokens: int = 0, said: str = "") -> None:
        self.results.append(Result(verdict, time.monotonic() - began, tokens, said))

    async def _whole(self, asking: httpx.AsyncClient, asked: Asked) -> tuple[int, str, int]:
        reply = await asking.post(ADDRESS, json=asked.body)
        if reply.status_code != 200:
            return reply.status_code, reply.text, 0
        found = reply.json()
        return 200, found["choices"][0]["message"]["content"], found["usage"]["completion_tokens"]

    async def _streamed(self, asking: httpx.AsyncClient, asked: Asked) -> tuple[int, str, int]:
        text, tokens, done = "", 0, False
        async with asking.stream("POST", ADDRESS, json={**asked.body, "stream_options": {"include_usage": True}}) as reply:
            if reply.status_code != 200:
                return reply.status_code, (await reply.aread()).decode(), 0
            async for line in reply.aiter_lines():
                done = line == "data: [DONE]"
                if line.startswith("data: {"):
                    event = json.loads(line.removeprefix("data: "))
                    text += "".join(each["delta"].get("content") or "" for each in event["choices"])
                    tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
                if done:
                    break
        if not done:
            raise ValueError("the stream has no end")
        return 200, text, tokens

    async def _break_off(self, asking: httpx.AsyncClient, asked: Asked) -> None:
        """Hang up in the middle of the request, while the answer is awaited, or while it is read."""
        began = time.monotonic()
        await self._die.choice([self._half_sent, self._left, self._half_read])(asking, asked)
        self._note("broken off", began)

    async def _half_sent(self, _: httpx.AsyncClient, asked: Asked) -> None:
        body = json.dumps(asked.body).encode()
        place = urlsplit(self._engine.address)
        head = f"POST {ADDRESS} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        _, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(head.encode() + body[: self._die.randrange(len(body))])
        await writer.drain()
        await asyncio.sleep(self._die.random() / 10)
        writer.close()

    async def _left(self, asking: httpx.AsyncClient, asked: Asked) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(asking.post(ADDRESS, json=asked.body), self._die.random())

    async def _half_read(self, asking: httpx.AsyncClient, asked: Asked) -> None:
        lines, most = 0, self._die.randint(1, 2 * asked.tokens)
        async with asking.stream("POST", ADDRESS, json={**asked.body, "stream": True}) as reply:
            async for _ in reply.aiter_lines():
                lines += 1
                if lines >= most:
                    return

    async def _change(self) -> None:
        """The guest appears, is replaced, and is dropped."""
        while True:
            choices: list[Any] = [None, *range(len(self._shelf.variants))]
            self._shelf.put(self._die.choice(choices))
            await asyncio.sleep(self._die.expovariate(1 / CHANGE_SECONDS))
