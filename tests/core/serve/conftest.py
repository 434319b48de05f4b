"""A real engine behind a real uvicorn, in a thread of the test; adapters that peft wrote."""

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from transformers import AutoTokenizer

from core import paths
from core.config import ServeConfig
from core.serve import app, resident
from core.serve import client as asking
from core.serve.engine import Engine
from core.serve.guard import guarded

TOKEN = "this home's own token"


@pytest.fixture
def adapters(home: Path, peft_adapter: Callable[..., Path]) -> Callable[..., Path]:
    """`adapters(name, seed, **LoraConfig fields)`: an adapter in the home."""

    def make(name: str, seed: int = 0, **fields: Any) -> Path:
        shelf = paths.adapters()
        shelf.mkdir(exist_ok=True)
        shutil.rmtree(shelf / name, ignore_errors=True)
        return Path(shutil.move(peft_adapter(name, seed, **fields), shelf / name))

    return make


@dataclass
class Served:
    """An engine, and where it answers."""

    engine: Engine
    address: resident.Engine
    session: str = "a"
    passes: list[int] = field(default_factory=list)
    """Rows of each pass through the base model."""

    def answers(self, *rows: dict[str, Any], session: str = "a", **fields: Any) -> Iterator[dict[str, Any]]:
        return asking.answers(self.address, session, list(rows), **fields)

    def texts(self, *rows: dict[str, Any], **fields: Any) -> dict[str, str]:
        """The whole answers."""
        return together(self.answers(*rows, **fields))

    def losses(self, mixes: list[Any], session: str = "a", **fields: Any) -> list[dict[str, Any]]:
        return list(asking.losses(self.address, session, mixes, **fields))

    def health(self) -> dict[str, Any]:
        return asking.health(self.address)


def together(events: Iterator[dict[str, Any]]) -> dict[str, str]:
    """The texts by key."""
    texts: dict[str, str] = {}
    for event in events:
        texts[event["key"]] = texts.get(event["key"], "") + event.get("text", "")
    return texts


def until(what: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait for something to be so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def serve(tiny_base: Path, home: Path) -> Iterator[Callable[..., Served]]:
    """`serve(**ServeConfig fields)` on the tiny base model."""
    running: list[tuple[Engine, uvicorn.Server, threading.Thread]] = []

    def start(**fields: Any) -> Served:
        engine = Engine(ServeConfig(**{"base_model": str(tiny_base), "device": "cpu", **fields}))
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(guarded(app.make(engine), engine.config, TOKEN), log_level="error", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        engine.begin()
        thread.start()
        running.append((engine, server, thread))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        served = Served(engine, resident.Engine(address, 0, engine.config.base_model, "", token=TOKEN))
        until(lambda: server.started and engine.loaded)
        loaded = engine._loaded
        assert loaded
        loaded.base.model.register_forward_pre_hook(lambda _, given: served.passes.append(len(given[0]) if given else 0))
        return served

    yield start
    for engine, server, thread in running:
        engine.leave()
        server.should_exit = True
        thread.join()
        engine.end()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """An engine as it comes."""
    return serve()


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    """The openai client on it."""
    return openai.OpenAI(base_url=f"{served.address.address}/v1", api_key="any", max_retries=0)


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    """Of the tiny base model."""
    return AutoTokenizer.from_pretrained(tiny_base)
