"""The app in a real headless Chromium: every page at desk and phone width, in light and dark: no error, nothing wider than the screen,
nothing that axe-core calls serious."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.pages import accessibility, sample
from tests.pages.browsing import CHROMIUM, FLAGS, MARKS, PATIENCE_MS, WIDER, App
from tests.pages.conftest import PAGES, TITLES

pytestmark = MARKS
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app on finished results; its address."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", str(tmp_path_factory.mktemp("home")))
        sample.everything()
        app = App.start()
    address = app.wait()
    yield address
    app.end()


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    """Chromium."""
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: "playwright.Browser") -> Iterator["playwright.Page"]:
    """A page at desk width."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


def _look(page: "playwright.Page", address: str) -> None:
    """Open an address and wait for its title."""
    page.goto(address, timeout=PATIENCE_MS)
    page.wait_for_selector("h1", timeout=PATIENCE_MS)


def _settle(page: "playwright.Page") -> None:
    """Wait until the page's script has ended."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE_MS)


def _choose(page: "playwright.Page", label: str, option: str) -> None:
    """Choose an option of a selectbox. A page that is drawn anew just then closes its list, and it is opened again."""
    listed = page.get_by_role("option", name=option)
    for _ in range(6):
        page.get_by_role("combobox", name=label).click()
        with suppress(playwright.TimeoutError):
            listed.click(timeout=PATIENCE_MS / 6)
            return
    raise AssertionError(f"{label} never listed {option}")


def test_a_page_opened_first_by_its_address_is_the_whole_app(server: str, page: "playwright.Page") -> None:
    _look(page, f"{server}/judge?verdict=failed")
    page.wait_for_selector("[data-testid=stSidebarNav] >> text=Evaluate", timeout=PATIENCE_MS, state="attached")
    assert page.locator("[data-testid=stSidebarNav] >> text=parts").count() == 0
    page.wait_for_selector("text=Why there is no verdict", timeout=PATIENCE_MS)


def test_every_page_at_both_widths_in_light_and_dark(server: str, page: "playwright.Page") -> None:
    grave = {}
    for name in PAGES:
        page.set_viewport_size({"width": 1440, "height": 900})
        _look(page, f"{server}/{'' if name == 'overview' else name}")
        _settle(page)
        assert page.inner_text("h1") == TITLES.get(name, name.capitalize())
        assert page.locator("[data-testid=stException], [data-testid=stAlertContentError]").count() == 0, name
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(300)
            with suppress(playwright.TimeoutError):  # charts take a moment to fit
                page.wait_for_function(f"{WIDER} <= 0", timeout=10_000)
            wider = page.evaluate(WIDER)
            assert wider <= 0, f"{name} is {wider} px wider than a screen of {width} px"
        for colours, rules in (("light", ()), ("dark", accessibility.COLOURS)):
            page.emulate_media(color_scheme=colours)
            page.wait_for_function(f"getComputedStyle(document.querySelector('.stApp')).colorScheme === '{colours}'", timeout=PATIENCE_MS)
            page.wait_for_timeout(600)  # until the colours have faded in
            grave[f"{name} in {colours} colours"] = accessibility.grave_findings(page, rules)
        page.emulate_media(color_scheme="light")
    assert not {where: found for where, found in grave.items() if found}


def test_a_filter_writes_its_state_into_the_url(server: str, page: "playwright.Page") -> None:
    _look(page, f"{server}/judge?category=kural")
    _settle(page)
    _choose(page, "Verdict", "tie")
    page.wait_for_url("**/judge?*verdict=tie*", timeout=PATIENCE_MS)
    assert "category=kural" in page.url


def test_what_a_model_wrote_is_shown_and_never_run(server: str, page: "playwright.Page") -> None:
    for address, card in (("evaluate", "[data-testid=stText]"), ("judge", "p > span")):
        _look(page, f"{server}/{address}")
        page.wait_for_selector(f"{card}:has-text('**stars**')", timeout=PATIENCE_MS)
        assert page.title() != "hacked"
        assert page.locator("[data-testid=stMain] b:has-text('bold')").count() == 0


def test_the_tokens_of_the_first_batch_are_marked_twice_and_never_read_as_html(server: str, page: "playwright.Page") -> None:
    _look(page, f"{server}/train")
    counted = page.locator("p > span.counted").last
    counted.wait_for(timeout=PATIENCE_MS)
    assert counted.inner_text() == "<|im_end|>", "special tokens are visible"
    style = counted.evaluate("e => [getComputedStyle(e).textDecorationLine, getComputedStyle(e).backgroundColor]")
    assert style[0] == "underline" and style[1] not in ("rgba(0, 0, 0, 0)", "transparent")
    page.get_by_role("radio", name="2", exact=True).or_(page.get_by_role("button", name="2", exact=True)).first.click()
    page.wait_for_selector("p > span:has-text('**stars**')", timeout=PATIENCE_MS)
    assert page.title() != "hacked" and page.locator("[data-testid=stMain] b:has-text('bold')").count() == 0


def test_a_preset_chosen_in_the_browser_fills_the_form(server: str, page: "playwright.Page") -> None:
    _look(page, f"{server}/evaluate")
    _settle(page)
    page.wait_for_selector(".js-plotly-plot .heatmaplayer image", timeout=PATIENCE_MS, state="attached")
    page.get_by_role("combobox", name="Preset").first.press_sequentially("seven")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-testid=stCode] >> text=--preset", timeout=PATIENCE_MS)
    assert page.get_by_role("textbox", name="System prompt").first.input_value() == "Answer in the voice of this school: {category}."
