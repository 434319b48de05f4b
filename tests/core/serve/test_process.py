"""The engine's process: open to other machines with a key alone, what it writes down of requests, and how it ends."""

import http.client
import json
import os
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from core import paths
from core.config import ServeConfig
from core.config.serve import KEY_VARIABLE
from core.serve import client, resident
from tests.core.serve.conftest import until

KEY = "the-key-of-the-tests"
SECRET = "xyzzy-the-question-nobody-may-keep"
CHAT = {"model": "base", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 3}


@pytest.fixture
def process(tiny_base, home):
    """`process(**ServeConfig fields)`: an engine in a process of its own."""
    yield lambda **fields: resident.start(ServeConfig(**{"base_model": str(tiny_base), "device": "cpu", **fields}))
    resident.stop()


def test_an_open_host_with_a_key_answers(process, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    engine = process(host="0.0.0.0")
    assert engine.address.startswith("http://127.0.0.1:") and client.health(engine)["limits"]["host"] == "0.0.0.0"
    assert httpx.get(f"{engine.address}/v1/models").status_code == 401
    assert httpx.get(f"{engine.address}/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert (paths.results() / ".engine.json").stat().st_mode & 0o777 == 0o600


def provoke(engine: resident.Engine, key: str) -> None:
    """Requests that go well and that don't; each holds the secret."""
    chat, said = f"{engine.address}/v1/chat/completions", {"Authorization": f"Bearer {key}"}
    bodies = [CHAT, CHAT | {"stream": True}, CHAT | {"model": SECRET}, CHAT | {"temperature": SECRET}, CHAT | {SECRET: 1}]
    for body in bodies:
        httpx.post(chat, json=body, headers=said, timeout=30)
    httpx.post(chat, content=f'{{"model": {SECRET}', headers={**said, "Content-Type": "application/json"})
    httpx.post(chat, json=CHAT, headers={"Authorization": f"Bearer {SECRET}"})
    httpx.get(f"{engine.address}/{SECRET}", headers=said)
    rows = [{"key": "a", "question": SECRET, "mix": {"adapters": [SECRET]}}, {"key": "b", "question": SECRET}]
    for row in rows:
        body = {"session": "a", "rows": [row], "max_new_tokens": 2}
        httpx.post(f"{engine.address}/console/answers", json=body, headers=said, timeout=30)


def written(home: Path, word: str) -> list[Path]:
    """Files of a home that hold a word."""
    return [file for file in home.rglob("*") if file.is_file() and word.encode() in file.read_bytes()]


def test_no_body_and_no_key_is_written_down(process, home, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    provoke(process(), KEY)
    resident.stop()
    assert resident.log().exists() and not written(home, SECRET) and not written(home, KEY)


def test_requests_are_written_down_where_that_is_asked_for(process, home, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    provoke(process(log_requests=True), KEY)
    resident.stop()
    (file,) = written(home, SECRET)
    assert file.stat().st_mode & 0o777 == 0o600 and not written(home, KEY)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert json.loads(lines[0]["body"]) == CHAT and lines[0]["path"] == "/v1/chat/completions"


def long_chat(**fields):
    return {**CHAT, "max_tokens": 900, "temperature": 0, "messages": [{"role": "user", "content": "Say it."}], **fields}


def test_asked_to_end_it_finishes_what_runs_and_takes_nothing_new(process):
    engine = process(grace_seconds=120)
    idle = http.client.HTTPConnection(engine.address.removeprefix("http://"), timeout=20)
    idle.request("GET", "/v1/models")
    assert idle.getresponse().read()
    whole, other_chat = [], long_chat(messages=[{"role": "user", "content": "Say the other."}])
    asking = threading.Thread(
        target=lambda: whole.append(httpx.post(f"{engine.address}/v1/chat/completions", json=other_chat, timeout=120))
    )
    with httpx.stream("POST", f"{engine.address}/v1/chat/completions", json=long_chat(stream=True), timeout=120) as reply:
        lines = reply.iter_lines()
        first = [next(lines) for _ in range(5)]
        asking.start()
        until(lambda: client.health(engine)["answers"] >= 2)
        os.kill(engine.pid, signal.SIGTERM)
        until(lambda: not accepts(engine))
        with pytest.raises((http.client.HTTPException, OSError)):
            idle.request("GET", "/v1/models")
            idle.getresponse()
        rest = list(lines)
    said = [json.loads(line[6:]) for line in [*first, *rest] if line.startswith("data: {")]
    assert [line for line in rest if line][-1] == "data: [DONE]"
    assert "error" not in said[-1] and said[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    asking.join()
    assert whole[0].status_code == 200 and whole[0].json()["choices"][0]["finish_reason"] in ("stop", "length")
    until(lambda: resident.find() is None)


def accepts(engine: resident.Engine) -> bool:
    """Whether a new connection is answered."""
    try:
        return httpx.get(f"{engine.address}/v1/models", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_what_runs_longer_than_the_grace_breaks_off_with_a_word(process):
    engine = process(grace_seconds=0.2)
    rows = [{"key": str(nth), "question": f"{nth}?"} for nth in range(64)]
    events = client.answers(engine, "a", rows, max_new_tokens=1000)
    next(events)
    began = time.monotonic()
    os.kill(engine.pid, signal.SIGTERM)
    with pytest.raises(Exception, match="ended|does not answer"):
        list(events)
    until(lambda: resident.find() is None)
    assert time.monotonic() - began < 10
    assert "Traceback" not in resident.log().read_text()
