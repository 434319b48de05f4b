"""What tests in a real browser share: where Chromium is, and the app as a server of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from core.config import ServeConfig
from core.serve import resident
from core.serve.resident import Engine
from tests.pages.conftest import APP

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 90_000
WIDER = "(() => { const m = document.querySelector('[data-testid=stMain]'); return m.scrollWidth - m.clientWidth })()"
"""JavaScript: by how many pixels a page is wider than its window."""
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: install Debian's package chromium to look at the pages"),
]


@contextmanager
def app_and_engine(base: Path, fill: Callable[[], object], **variables: Path) -> Iterator[tuple[str, Engine]]:
    """Within: the app's address, and an engine on this base model. `fill` makes the home that LYCEUM_HOME among `variables` names."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, str(value))
        fill()
        app = App.start()
        engine = resident.start(ServeConfig(base_model=str(base)))
    yield app.wait(), engine
    os.kill(engine.pid, signal.SIGTERM)
    app.end()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class App:
    """The app in a process of its own, in the environment that it was started in."""

    address: str
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, *options: str, said: int | IO[bytes] = subprocess.DEVNULL) -> "App":
        """On a free port, with Streamlit's options; it isn't waited for. `said`: where its output goes."""
        port = free_port()
        command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port), "--server.headless", "true"]
        process = subprocess.Popen([*command, *options], cwd=APP.parent, stdout=said, stderr=said)
        return cls(f"http://127.0.0.1:{port}", process)

    def wait(self) -> str:
        """Until it answers. Returns its address."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=2)
                return self.address
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"{self.address} did not answer within 60 s")

    def end(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)
