"""The HTTP server of an engine (uvicorn), which lets running answers finish when the process is asked to end."""

import signal
import socket
import threading
from types import FrameType
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from core.config import ServeConfig

CLOSING_SECONDS = 2
"""How long connections may take to close after the last word."""
KEEP_ALIVE_SECONDS = 75
"""How long a connection may idle. Far longer than clients keep theirs (httpx, and so openai and groq: 5 s): who asks closes them, or a
request could meet a connection that is being closed.
"""


class Ending(Protocol):
    """What the server asks of an engine in the end. A signal's handler calls both."""

    def wind_up(self) -> None:
        """Take nothing new; what is under way goes on."""

    def leave(self) -> None:
        """End everything at once, and tell everybody."""


class Server(uvicorn.Server):
    """Asked to end, it takes no new requests, and gives running answers `grace_seconds`; asked twice, it breaks them off."""

    def __init__(self, app: ASGIApp, config: ServeConfig, engine: Ending) -> None:
        patience = int(config.grace_seconds) + CLOSING_SECONDS
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=patience,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self._engine, self._grace = engine, config.grace_seconds
        self._deadline: threading.Timer | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve. uvicorn raises the signals that it heeded once more in the end; by then they have done their work."""
        for asked in (signal.SIGTERM, signal.SIGINT):
            signal.signal(asked, signal.SIG_IGN)
        super().run(sockets)
        if self._deadline:
            self._deadline.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Asked to end."""
        if self._deadline:
            self._engine.leave()
        else:
            self._engine.wind_up()
            self._deadline = threading.Timer(self._grace, self._engine.leave)
            self._deadline.daemon = True
            self._deadline.start()
        self.should_exit = True
