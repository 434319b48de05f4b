"""An engine in another container, here in another home: found by LYCEUM_ENGINE_URL, asked with a key, neither started nor stopped.

It is read-only itself, as in the demo of compose.yaml, and runs in the foreground: `python -m core serve` is what such a demo may start.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from core import playground, read_only
from core.config import DrawingConfig, ServeConfig
from core.config.serve import KEY_VARIABLE
from core.errors import UserError
from core.playground import Play
from core.serve import client, elsewhere, resident
from tests.pages import tiny_mix

KEY = "a-key-of-the-tests-alone"
PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_data: Path) -> Iterator[tuple[str, Path]]:
    """Address and home of an engine that runs read-only in a terminal."""
    home = tmp_path_factory.mktemp("engine")
    tiny_mix.write(home, tiny_base, tiny_data)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"LYCEUM_HOME": str(home), KEY_VARIABLE: f"{KEY},another-key-of-the-tests", read_only.VARIABLE: "1"}
    words = [sys.executable, "-m", "core", "serve", "--base_model", str(tiny_base), "--port", str(port)]
    process = subprocess.Popen(words, cwd=PROJECT, env=os.environ | variables, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{address}/health", trust_env=False)
            break
        except httpx.HTTPError:
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.1)
    yield address, home
    process.send_signal(signal.SIGTERM)
    process.wait(30)


@pytest.fixture
def app(engine: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of an app in read-only mode that asks this engine. Returns its address."""
    for name, value in ((elsewhere.VARIABLE, f"{engine[0]}/"), (KEY_VARIABLE, f"{KEY}, another"), (read_only.VARIABLE, "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(elsewhere, "_known", {})
    return engine[0]


def test_it_is_found_and_answers_the_playground(app: str, engine: tuple[str, Path], tiny_base: Path) -> None:
    found = resident.find()
    assert found and (found.address, found.base_model, found.kind, found.pid) == (app, str(tiny_base), "lyceum", 0)
    assert KEY not in repr(found)
    assert "cynic-lora" in client.models(found) and client.health(found)["limits"]["key"] is True
    play = Play(models=("cynic-lora",), questions=("Why?",), drawing=DrawingConfig(max_tokens=8000, preset=None, temperature=0))
    ended = [event for event in playground.stream(found, play, "cynic-lora", {}) if "done" in event]
    assert len(ended) == 1 and 0 < ended[0]["count"] <= read_only.LONGEST_ANSWER
    assert not [file for file in (engine[1] / "results").glob("[!.]*")], "an engine makes no run"


def test_what_is_no_visitors_is_closed_in_the_engine_too(app: str) -> None:
    asking = {"headers": {"Authorization": f"Bearer {KEY}"}, "trust_env": False}
    row = {"key": "a", "question": "Why?"}
    for path, body in (
        ("/console/answers", {"session": "s", "rows": [row]}),
        ("/console/losses", {"session": "s", "mixes": [None], "data": "/etc/passwd"}),
        ("/rag/answers", {"session": "s", "settings": {"question": "Why?", "docs_dir": "/etc"}}),
    ):
        reply = httpx.post(f"{app}{path}", json=body, **asking)  # type: ignore[arg-type]
        assert reply.status_code == 403 and "read-only" in reply.json()["error"]["message"], path
    assert httpx.get(f"{app}/v1/models", trust_env=False).status_code == 401


def test_it_is_neither_started_nor_stopped_from_here(app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not resident.ours()
    monkeypatch.delenv(read_only.VARIABLE)
    assert not resident.ours()
    with pytest.raises(UserError, match=f"LYCEUM_ENGINE_URL names an engine elsewhere, {app}, and it can't be started or stopped"):
        resident.stop()
    assert resident.start().address == app, "one that answers needs no start"
    monkeypatch.setenv(elsewhere.VARIABLE, "http://127.0.0.1:9")
    assert resident.find() is None
    with pytest.raises(UserError, match="can't be started or stopped from here"):
        resident.start(ServeConfig())


def test_the_pages_offer_no_start_and_no_stop(app: str) -> None:
    at = AppTest.from_file(str(PROJECT / "streamlit_app.py"), default_timeout=120).run()
    for page in ("playground", "serve"):
        at.switch_page(f"pages/{page}.py").run()
        assert not at.exception and not at.error
        assert not [button.label for button in at.button if "engine" in button.label.lower() or "Stop" in button.label]
    assert "elsewhere" in " ".join(caption.value.replace("\\", "") for caption in at.caption)


@pytest.mark.parametrize("wrong", ["engine:8000", "ftp://engine", "http://", "http://[", "javascript:alert(1)"])
def test_what_is_no_address_is_said(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv(elsewhere.VARIABLE, wrong)
    with pytest.raises(UserError, match="is no address of an engine. Write it like this: http://engine:8000"):
        resident.find()


def test_a_wrong_key_is_said_and_a_gone_engine_is_none(app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "no-key-of-this-engine")
    with pytest.raises(UserError, match="refuses the key in LYCEUM_API_KEY") as refused:
        resident.find()
    assert "no-key-of-this-engine" not in str(refused.value)
    monkeypatch.setenv(elsewhere.VARIABLE, "http://127.0.0.1:9")
    assert resident.find() is None


def test_it_is_not_asked_at_every_look(app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resident.find()
    monkeypatch.setattr(elsewhere, "_ask", lambda where: pytest.fail("asked again"))
    assert resident.find() and resident.find()
