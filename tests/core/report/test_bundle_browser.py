"""report.html in a real headless Chromium without a network: charts, verdict browser, print, and texts that would be code elsewhere."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.word_diff import differences
from tests.core.report import material
from tests.pages.browsing import CHROMIUM, FLAGS, MARKS, PATIENCE_MS

pytestmark = MARKS
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

WIDER = "document.documentElement.scrollWidth - innerWidth"
SHOWN = "[...document.querySelectorAll('.plot')].filter(each => each.offsetParent)"
DRAWN = f"{SHOWN}.map(each => each.querySelectorAll('svg .trace, svg .hm').length)"
"""JavaScript: how many traces each chart has that is shown."""


@dataclass
class Seen:
    """A page, and what it did that it should not."""

    page: Any
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """report.html of an evaluation whose names and texts are hostile; one judge is sound, the other one's card is red."""
    home = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", str(home))
        evaluation = material.evaluate()
        material.judge(evaluation, "<b>always A</b>", lambda place: ("base", "fine-tuned"), times=3)
        material.judge(evaluation, "similarity", lambda place: (("fine-tuned",) * 2, ("base",) * 2, ("tie",) * 2)[place % 3])
        _, packed, _ = material.report_of()
        yield packed.with_name("report.html")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


def opened(chromium: Any, bundle: Path, width: int = 1440, scheme: str = "light") -> Seen:
    """The bundle, offline; all that it asks for is recorded and refused."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_offline(True)
    seen = Seen(context.new_page())
    context.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("dialog", lambda dialog: (seen.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    seen.page.on("pageerror", lambda error: seen.faults.append(f"error: {error}"))
    seen.page.on("console", lambda message: seen.faults.append(f"console: {message.text}"))
    seen.page.goto(bundle.as_uri())
    seen.page.locator("article.verdict").first.wait_for(timeout=PATIENCE_MS)
    return seen


def test_it_opens_and_works_without_a_network(chromium: Any, bundle: Path) -> None:
    seen = opened(chromium, bundle)
    page = seen.page
    title = page.title()
    assert all(number > 0 for number in page.evaluate(DRAWN)), "a chart that is shown has no traces"
    assert len(page.evaluate(DRAWN)) == 4, "dumbbells, matrix, outcomes, win matrix"
    charts_show_names_as_text(page)
    page.get_by_label("Metric").select_option("bleu")
    assert page.locator("[data-figure=matrix-0]").is_hidden() and page.locator("[data-figure=matrix-1] .hm").count() == 1
    filters(page)
    long_text(page)
    words(page)
    keyboard(page)
    assert seen.requests == [bundle.as_uri()]
    assert seen.faults == []
    assert page.title() == title
    assert page.locator("iframe, img, base, meta[http-equiv=refresh], a[href^=http]").count() == 0


def labelled(page: Any, label: str) -> Any:
    """A filter of the verdict browser."""
    return page.locator("#verdict-browser").get_by_label(label, exact=True)


def charts_show_names_as_text(page: Any) -> None:
    """Names that plotly would read as HTML stand as they are."""
    labels = page.locator("[data-figure^=matrix] .ytick text").all_text_contents()
    assert set(material.CATEGORIES) <= set(labels), labels
    assert page.locator("[data-figure^=matrix] .xtick text").all_text_contents() == ["base", material.TUNED]
    assert page.locator("svg a").count() == 0


def filters(page: Any) -> None:
    """Search, filters and pages change what is listed."""
    count = page.locator("#verdict-browser [role=status]")
    assert count.inner_text().startswith("72 of 72 verdicts. Page 1 of 8.")
    assert page.locator("article.verdict").count() == 10
    assert [head.inner_text() for head in page.locator("article.verdict").first.locator(".three h4").all()] == [
        "Reference",
        "Base",
        material.TUNED,
    ]
    page.get_by_role("button", name="Next page").first.click()
    assert "Page 2 of 8" in count.inner_text()
    labelled(page, "Verdict").select_option("loss")
    assert count.inner_text().startswith("6 of 72 verdicts. Page 1 of 1.")
    labelled(page, "Verdict").select_option("all")
    labelled(page, "Orders").select_option("disagree")
    assert count.inner_text().startswith("54 of 72")
    labelled(page, "Orders").select_option("all")
    labelled(page, "Category").select_option(material.CATEGORIES[1])
    assert count.inner_text().startswith("24 of 72")
    labelled(page, "Contains").fill("EVIL.EXAMPLE/P")
    page.locator("#verdict-browser [role=status]", has_text=re.compile("^4 of 72")).wait_for()
    assert page.locator("article.verdict .three > div").nth(1).inner_text().endswith(material.HOSTILE[3])
    labelled(page, "Category").select_option("all")
    labelled(page, "Contains").fill("candidate 5")
    page.locator("#verdict-browser [role=status]", has_text=re.compile("^12 of 72")).wait_for()


def long_text(page: Any) -> None:
    """A line of 1 MB is clipped, and shown whole on demand."""
    card = page.locator("article.verdict").first.locator(".three > div").nth(2)
    assert len(card.inner_text()) < 2_000
    card.get_by_role("button").click()
    assert len(card.locator(".text").evaluate("each => each.textContent")) == len(f"{material.LONG} candidate 5")
    card.get_by_role("button", name="Show less").click()
    assert len(card.inner_text()) < 2_000
    labelled(page, "Contains").fill("")
    page.locator("#verdict-browser [role=status]", has_text=re.compile("^72 of 72")).wait_for()


def words(page: Any) -> None:
    """Differences of words are those of core.word_diff, which the app shows."""
    labelled(page, "Words").select_option("differences")
    card = page.locator("article.verdict").nth(3).locator(".three > div").nth(2).locator(".text")
    marked = card.evaluate("each => [...each.querySelectorAll('ins, del')].map(piece => [piece.textContent.trim(), piece.tagName])")
    reference = page.locator("article.verdict").nth(3).locator(".three > div").nth(0).locator(".text").evaluate("each => each.textContent")
    kinds = {"INS": "added", "DEL": "missing"}
    expected = [
        (piece.strip(), kind) for piece, kind in differences(reference, card.evaluate("each => each.textContent")) if kind != "same"
    ]
    assert [(piece, kinds[tag]) for piece, tag in marked] == expected != []


def keyboard(page: Any) -> None:
    """The browser's pages turn by keys alone."""
    page.get_by_role("button", name="Next page").first.focus()
    page.keyboard.press("Enter")
    assert "Page 2 of 8" in page.locator("#verdict-browser [role=status]").inner_text()


def test_a_small_dark_screen_and_paper(chromium: Any, bundle: Path, tmp_path: Path) -> None:
    seen = opened(chromium, bundle, 390, "dark")
    assert seen.page.evaluate(WIDER) <= 0
    colour = "getComputedStyle(document.querySelector('.ytick text')).fill"
    assert seen.page.evaluate(colour) == "rgb(230, 227, 220)"
    made = seen.page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert made.startswith(b"%PDF") and len(made) > 50_000
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert seen.page.locator("figure:not([hidden]) > details:not([open])").count() == 0
    seen.page.set_viewport_size({"width": 690, "height": 900})
    seen.page.emulate_media(media="print")
    assert seen.page.evaluate(WIDER) <= 0 and seen.page.evaluate(colour) == "rgb(17, 17, 17)"
    assert seen.page.locator(".filters").is_hidden()
    assert seen.faults == [] and seen.requests == [bundle.as_uri()]
