"""The playground in a real headless Chromium: four streams grow at once, probabilities show on hover, and a link reopens the state."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest

from core import playground
from core.config import DrawingConfig
from core.playground import Play, fold
from core.serve import resident
from core.serve.resident import Engine
from tests.pages import tiny_mix
from tests.pages.browsing import CHROMIUM, FLAGS, MARKS, PATIENCE_MS, WIDER, App, app_and_engine

pytestmark = MARKS
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

MIX = "mix:cynic-lora=0.5,lexicon-lora=0.7"
MODELS = ("base", "cynic-lora", "pooled-lora", MIX)
HOSTILE = "<b>Who</b> are you? <img src=x onerror=\"document.title='hacked'\">"
MARKUP = ("<b>", "bold", "</b>", " <img src=x onerror=\"document.title='hacked'\">", " **stars**")
COLUMNS = "[...document.querySelectorAll('*')].flatMap(e => e.shadowRoot ? [...e.shadowRoot.querySelectorAll('article')] : [])"
ENDED = f"{COLUMNS}.filter(a => /stop|length/.test(a.className)).length"
TEXTS = f"{COLUMNS}.map(a => a.querySelector('p').textContent)"
WATCH = """
window.seen = [];
setInterval(() => {
    const lengths = COLUMNS.map(a => a.className.includes("writes") ? a.querySelector("p").textContent.length : 0);
    if (lengths.length === 4) window.seen.push(lengths);
}, 100);
""".replace("COLUMNS", COLUMNS)


@dataclass(frozen=True)
class Served:
    """The app and the engine behind it."""

    address: str
    engine: Engine

    def link(self, *models: str, **query: str) -> str:
        """The playground with these models."""
        return f"{self.address}/playground?{urlencode({'model': models, **query}, doseq=True)}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_data: Path) -> Iterator[Served]:
    """The app with four adapters and an engine on a tiny base."""
    home = tmp_path_factory.mktemp("home")
    with app_and_engine(tiny_base, lambda: tiny_mix.write(home, tiny_base, tiny_data), LYCEUM_HOME=home) as (address, engine):
        yield Served(address, engine)


@pytest.fixture
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield opened
        opened.close()


def ask(page: "playwright.Page", question: str) -> None:
    box = page.get_by_test_id("stChatInputTextArea")
    box.wait_for(timeout=PATIENCE_MS)
    box.fill(question)
    box.press("Enter")


@contextmanager
def slowed(pid: int) -> Iterator[None]:
    """The process with an eighth of its time: it never outruns the page that watches it, however busy the machine is."""
    over = threading.Event()

    def doze() -> None:
        while not over.wait(0.05):
            os.kill(pid, signal.SIGSTOP)
            over.wait(0.35)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=doze)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def engines(served: Served, model: str, *questions: str, tokens: int) -> list[str]:
    """What the engine answers, greedily."""
    play = Play(questions=questions, system_prompt=tiny_mix.SYSTEM_PROMPT, drawing=DrawingConfig(temperature=0, max_tokens=tokens))
    own = {"cynic-lora": "cynic"}
    return [answer.text for answer in fold([], list(playground.stream(served.engine, play, model, own)), len(questions))]


def test_four_streams_grow_at_once_and_a_link_reopens_the_state(served: Served, browser: "playwright.Browser") -> None:
    faults: list[str] = []
    page = browser.new_context(viewport={"width": 1440, "height": 1200}).new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(served.link(*MODELS, temperature="0", max_tokens="200"), timeout=PATIENCE_MS)
    page.evaluate(WATCH)
    with slowed(served.engine.pid):
        ask(page, HOSTILE)
        page.wait_for_function(f"{ENDED} === 4", timeout=PATIENCE_MS)
    texts = page.evaluate(TEXTS)
    assert texts == [engines(served, model, HOSTILE, tokens=200)[0] for model in MODELS]
    seen = [lengths for lengths in page.evaluate("window.seen") if all(lengths)]
    assert len({tuple(lengths) for lengths in seen}) >= 3, "all four were seen in the middle of writing, again and again"
    assert all(later > earlier for earlier, later in zip(seen[0], seen[-1], strict=True)), "and all four grew meanwhile"

    tops = page.evaluate(f"{COLUMNS}.map(a => Math.round(a.getBoundingClientRect().top))")
    assert len(set(tops)) == 1, "side by side"
    titles = page.evaluate(f"{COLUMNS}.map(a => [...a.querySelectorAll('p span')].map(s => s.title))")
    assert all(len(each) > 50 and all(" %" in title for title in each) for each in titles)
    assert any("instead: " in title for title in titles[0])
    assert page.evaluate(f"{COLUMNS}.flatMap(a => [...a.querySelectorAll('b, img, script')]).length") == 0
    assert page.get_by_text("<b>Who</b>").count() >= 1 and page.title() != "hacked"

    page.wait_for_url("**question=*", timeout=PATIENCE_MS)
    again = browser.new_context(viewport={"width": 390, "height": 900}).new_page()
    again.on("pageerror", lambda error: faults.append(str(error)))
    again.goto(page.url, timeout=PATIENCE_MS)
    again.wait_for_function(f"{COLUMNS}.length === 4", timeout=PATIENCE_MS)
    assert again.get_by_text("<b>Who</b>").count() >= 1 and again.evaluate(ENDED) == 0, "nothing is asked without a click"
    again.get_by_role("button", name="Get 4 missing answers").click()
    again.wait_for_function(f"{ENDED} === 4", timeout=PATIENCE_MS)
    assert again.evaluate(TEXTS) == texts
    again.wait_for_function(f"{WIDER} <= 0", timeout=10_000)
    assert again.locator("[data-testid=stException], [data-testid=stAlertContentError]").count() == 0
    assert not faults


class Hostile(BaseHTTPRequestHandler):
    """An engine whose model writes markup, token by token."""

    def do_GET(self) -> None:
        body = json.dumps({"busy": ""}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        for piece in MARKUP:
            token = {"token": piece, "bytes": list(piece.encode()), "logprob": -0.7}
            scored = {"content": [{**token, "top_logprobs": [token, {**token, "token": "<i>"}]}]}
            choice = {"index": 0, "delta": {"content": piece}, "logprobs": scored, "finish_reason": None}
            self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        self.wfile.write(b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hostile(home: Path) -> Iterator[str]:
    """The app beside that engine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (home / "results").mkdir()
    word = resident.announce(Engine(f"http://127.0.0.1:{server.server_port}", os.getpid(), "bundled", ""))
    app = App.start()
    yield app.wait()
    app.end()
    os.close(word)
    server.shutdown()
    server.server_close()


def test_what_a_model_writes_is_text(hostile: str, browser: "playwright.Browser") -> None:
    page = browser.new_context(viewport={"width": 1440, "height": 1200}).new_page()
    page.goto(f"{hostile}/playground?model=base&question=Why%3F", timeout=PATIENCE_MS)
    page.get_by_role("button", name="Get 1 missing answer").click(timeout=PATIENCE_MS)
    page.wait_for_function(f"{ENDED} === 1", timeout=PATIENCE_MS)
    assert page.evaluate(TEXTS) == ["".join(MARKUP)]
    spans = page.evaluate(f"[...{COLUMNS}[0].querySelectorAll('p span')].map(s => [s.textContent, s.title])")
    assert [text for text, _ in spans] == list(MARKUP) and spans[0][1] == "“<b>”: 50 %\ninstead: “<i>” 50 %"
    assert page.evaluate(f"{COLUMNS}[0].querySelectorAll('b, i, img, script').length") == 0 and page.title() != "hacked"
    page.locator("article p span").nth(2).click()
    page.wait_for_function(f"{COLUMNS}[0].querySelector('.chosen')?.textContent === '</b>'", timeout=PATIENCE_MS)
    page.get_by_text("Base has no adapters").wait_for(timeout=PATIENCE_MS)
