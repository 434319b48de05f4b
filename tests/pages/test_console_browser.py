"""The live console in a real headless Chromium: fifty moves in a row, the triangle, and a link that brings all of it back."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from core import console
from core.config import MergeConfig
from core.serve import client
from core.serve.resident import Engine
from tests.pages import tiny_mix
from tests.pages.browsing import CHROMIUM, FLAGS, MARKS, PATIENCE_MS, app_and_engine

pytestmark = MARKS
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

QUESTION = "What is a friend?"
MOVES = 50


@dataclass(frozen=True)
class Served:
    """The app and the engine behind it."""

    address: str
    engine: Engine
    data: str

    def link(self, **more: str) -> str:
        """The console on three adapters and one question."""
        short = {"adapters": ",".join(tiny_mix.ADAPTERS), "question": QUESTION, "category": "cynic", "max_new_tokens": "16", "limit": "2"}
        return f"{self.address}/merge?{urlencode(short | more)}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_data: Path) -> Iterator[Served]:
    """The app with three adapters and an engine on a tiny base."""
    home = tmp_path_factory.mktemp("home")
    with app_and_engine(tiny_base, lambda: tiny_mix.write(home, tiny_base, tiny_data), LYCEUM_HOME=home) as (address, engine):
        yield Served(address, engine, str(tiny_data))


@pytest.fixture
def page() -> Iterator["playwright.Page"]:
    """A page at desk width."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser.new_context(viewport={"width": 1440, "height": 1200}).new_page()
        browser.close()


def expected(served: "Served", *weights: float) -> tuple[str, float]:
    """What the engine answers under these weights, and its mean validation loss."""
    asked = console.request(MergeConfig(adapters=tiny_mix.ADAPTERS, weights=weights))
    row = {"key": "x", "question": QUESTION, "category": "cynic", "mix": asked}
    events = client.answers(served.engine, "test", [row], system_prompt=tiny_mix.SYSTEM_PROMPT, max_new_tokens=16)
    text = "".join(event.get("text", "") for event in events)
    fields = {"data": served.data, "system_prompt": tiny_mix.SYSTEM_PROMPT, "max_seq_length": 256, "limit": 2}
    newest = {event["category"]: event["loss"] for event in client.losses(served.engine, "test", [asked], **fields) if event.get("loss")}
    return text, sum(newest.values()) / len(newest)


def said(page: "playwright.Page", text: str, loss: float) -> None:
    """Wait until the page shows this answer and this mean loss of the mix, and no error."""
    page.wait_for_function(
        "([text, loss]) => { const found = [...document.querySelectorAll('*')].flatMap(e => e.shadowRoot"
        " ? [...e.shadowRoot.querySelectorAll('article.mix:not(.pale):not(.writes) p')] : []);"
        " return found.some(p => p.innerText.trim() === text) && document.body.innerText.includes(loss) }",
        arg=[text.strip(), f"; mix {loss:.2f} ("],
        timeout=PATIENCE_MS,
    )
    assert page.locator("[data-testid=stException], [data-testid=stAlertContentError], [data-testid=stAlertContentWarning]").count() == 0


def test_fifty_moves_in_a_row_and_a_link_that_brings_them_back(served: Served, page: "playwright.Page") -> None:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(served.link(weights="0.2,0.6,0.1"), timeout=PATIENCE_MS)
    said(page, *expected(served, 0.2, 0.6, 0.1))
    sliders = page.get_by_role("slider")
    for move in range(MOVES):
        slider = sliders.nth(move % 2)
        slider.focus()
        slider.press("ArrowRight" if move % 2 == 0 else "ArrowLeft")
        if move % 5 == 0:
            page.wait_for_timeout(120)
    assert [float(sliders.nth(n).input_value()) for n in range(3)] == [0.45, 0.35, 0.1]
    said(page, *expected(served, 0.45, 0.35, 0.1))
    page.wait_for_url("**weights=0.45%2C0.35%2C0.1*", timeout=PATIENCE_MS)
    again = page.context.new_page()
    again.goto(page.url, timeout=PATIENCE_MS)
    said(again, *expected(served, 0.45, 0.35, 0.1))
    assert [float(again.get_by_role("slider").nth(n).input_value()) for n in range(3)] == [0.45, 0.35, 0.1]
    assert again.locator("article p").count() == page.locator("article p").count() == 4
    assert not faults


def test_a_click_in_the_triangle_sets_the_weights(served: Served, page: "playwright.Page") -> None:
    page.goto(served.link(), timeout=PATIENCE_MS)
    said(page, *expected(served, 1 / 3, 1 / 3, 1 / 3))
    corner = page.locator(".js-plotly-plot .ternary .scatterlayer .points path, .js-plotly-plot .scatterlayer .trace .point").first
    boxes = (corner.bounding_box() or page.wait_for_timeout(200) for _ in range(100))  # a picture that is just drawn anew has none
    box = next(filter(None, boxes))
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url("**weights=0%2C0%2C1*", timeout=PATIENCE_MS)
    said(page, *expected(served, 0, 0, 1))


def test_the_console_fits_a_phone(served: Served, page: "playwright.Page") -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(served.link(), timeout=PATIENCE_MS)
    said(page, *expected(served, 1 / 3, 1 / 3, 1 / 3))
    wider = page.evaluate("(() => { const m = document.querySelector('[data-testid=stMain]'); return m.scrollWidth - m.clientWidth })()")
    assert wider <= 0
