"""A question to documents in a real headless Chromium: pipelines answer side by side, with highlighted passages that are never run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.config import RagConfig
from core.serve import client
from core.serve.resident import Engine
from tests.pages import sample_rag
from tests.pages.browsing import CHROMIUM, FLAGS, MARKS, PATIENCE_MS, WIDER, app_and_engine

pytestmark = MARKS
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

QUESTION = "Who keeps the honey of the bees?"
PIPELINES = ("none", "dense", "bm25", "hybrid")
ARTICLES = "[...document.querySelectorAll('*')].flatMap(e => e.shadowRoot ? [...e.shadowRoot.querySelectorAll('article')] : [])"


@dataclass(frozen=True)
class Served:
    """The app, the engine behind it, and a folder of documents."""

    address: str
    engine: Engine
    docs: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Served]:
    """The app with a finished comparison and an engine on a tiny base."""
    docs = tmp_path_factory.mktemp("docs")
    (docs / "bees.md").write_text(f"# Bees\n\nThe keeper guards the honey of his bees.\n\n{sample_rag.HOSTILE}")
    (docs / "iron.txt").write_text("Iron rusts when it is wet.")
    folders = {name: tmp_path_factory.mktemp(name) for name in ("LYCEUM_HOME", "LYCEUM_CACHE")}
    with app_and_engine(tiny_base, sample_rag.compare, **folders) as (address, engine):
        yield Served(address, engine, docs)


@pytest.fixture
def page() -> Iterator["playwright.Page"]:
    """A page at desk width."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser.new_context(viewport={"width": 1440, "height": 1200}).new_page()
        browser.close()


def asked(served: Served) -> tuple[dict[str, str], dict[str, list[str]]]:
    """What the engine answers and finds, by pipeline."""
    config = RagConfig(docs_dir=str(served.docs), question=QUESTION, pipelines=PIPELINES, top_k=3, max_new_tokens=96)
    texts, found = dict.fromkeys(PIPELINES, ""), {}
    for event in client.rag_answers(served.engine, "test", config.model_dump(mode="json")):
        if "pipeline" in event:
            found[event["pipeline"]] = [each["text"] for each in event["passages"]]
        elif "key" in event:
            texts[event["key"]] += event.get("text", "")
    return texts, found


def test_a_typed_question_is_answered_side_by_side_with_highlighted_passages(served: Served, page: "playwright.Page") -> None:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{served.address}/rag?rag_look=cost", timeout=PATIENCE_MS)
    box = page.get_by_role("textbox", name="Question").first
    box.wait_for(timeout=PATIENCE_MS)
    folder = page.get_by_role("combobox", name="Documents")
    folder.click()
    folder.fill(str(served.docs))
    folder.press("Enter")
    box.fill(QUESTION)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_function(f"{ARTICLES}.filter(a => a.className === 'stop' || a.className === 'length').length === 4", timeout=PATIENCE_MS)
    texts, found = asked(served)
    shown = page.evaluate(
        f"{ARTICLES}.map(a => [a.querySelector('.answer').textContent, [...a.querySelectorAll('li p')].map(p => p.textContent),"
        " [...a.querySelectorAll('mark')].map(m => m.textContent)])"
    )
    assert [each[0] for each in shown] == list(texts.values())
    assert [each[1] for each in shown] == [found[name] for name in PIPELINES]
    assert {"honey", "bees"} <= {word.casefold() for word in shown[1][2]} and "Iron" not in shown[1][2]
    marked = page.evaluate(f"getComputedStyle({ARTICLES}[1].querySelector('mark')).backgroundColor")
    assert marked not in ("rgba(0, 0, 0, 0)", "transparent")
    assert page.title() != "hacked" and page.evaluate(f"{ARTICLES}.flatMap(a => [...a.querySelectorAll('script, img')]).length") == 0
    tops = page.evaluate(f"{ARTICLES}.map(a => Math.round(a.getBoundingClientRect().top))")
    assert len(set(tops[:3])) == 1, "side by side"
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_function(f"{WIDER} <= 0", timeout=10_000)
    assert page.locator("[data-testid=stException], [data-testid=stAlertContentError]").count() == 0
    assert not faults


def test_passages_of_a_comparison_stand_side_by_side_and_are_never_run(served: Served, page: "playwright.Page") -> None:
    page.goto(f"{served.address}/rag?rag_look=question+by+question", timeout=PATIENCE_MS)
    page.wait_for_function(f"{ARTICLES}.length === 6", timeout=PATIENCE_MS)
    first = page.evaluate(f"{ARTICLES}[0].querySelector('.answer').textContent")
    assert first == sample_rag.HOSTILE
    assert page.evaluate(f"{ARTICLES}.filter(a => a.querySelector('mark')).length") == 5
    assert page.evaluate(f"{ARTICLES}.flatMap(a => [...a.querySelectorAll('li.gold')]).length") > 0
    assert page.title() != "hacked"
