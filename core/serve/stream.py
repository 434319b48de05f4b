"""The events of one request, told by any thread and read in an event loop."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi.responses import StreamingResponse

Event = dict[str, Any]


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


def sent(stream: Stream, hang_up: Callable[[Stream], None]) -> StreamingResponse:
    """The stream as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). `hang_up`: the client left."""

    async def lines() -> AsyncIterator[str]:
        try:
            async for event in stream.events():
                yield f"data: {json.dumps(event)}\n\n"
        finally:
            hang_up(stream)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
