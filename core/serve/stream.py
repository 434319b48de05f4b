"""The events of one request, told by any thread and read in an event loop."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

Event = dict[str, Any]

_HUNG_UP = 499
"""As nginx notes a client that did not wait; nobody reads it."""


class Stream:
    """Made in the event loop that reads it."""

    def __init__(self, session: str) -> None:
        self.session = session
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def tell(self, **event: Any) -> None:
        """Add an event."""
        self._put(event)

    def end(self) -> None:
        """No more events."""
        self._put(None)

    async def events(self) -> AsyncIterator[Event]:
        """The events as they come, until the end."""
        while (event := await self._events.get()) is not None:
            yield event

    def _put(self, event: Event | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)


async def unless_hung_up(answering: Coroutine[Any, Any, Response], request: Request) -> Response:
    """The reply, unless the client hangs up before it is whole; then nobody computes on."""
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


def sent(stream: Stream, hang_up: Callable[[Stream], None]) -> StreamingResponse:
    """The stream as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). `hang_up`: the client left."""

    async def lines() -> AsyncIterator[str]:
        try:
            async for event in stream.events():
                yield f"data: {json.dumps(event)}\n\n"
        finally:
            hang_up(stream)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
