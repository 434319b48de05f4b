"""The guide page: every section, both languages, the calculator's figures, the picture of an adapter; and at 390 px in a browser."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from streamlit.testing.v1 import AppTest

from core import guide, guide_charts, paths
from core.registry import Entry
from core.train import METHODS
from pages import guide_calculator
from tests.pages import browsing
from tests.pages.browsing import CHROMIUM, FLAGS, PATIENCE_MS, WIDER, App
from tests.pages.conftest import Open
from tests.pages.test_pages import words

SECTIONS = guide.sections()
CYNIC = paths.PROJECT / "adapters" / "cynic-lora"


def figures(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def test_every_section_has_its_text_its_tables_and_working_buttons(open_page: Open) -> None:
    at = open_page("guide")
    for section in SECTIONS:
        at.query_params["section"] = section
        assert not at.run().exception and not at.error
        assert [title.value for title in at.title] == ["Guide"] and at.header[0].value == SECTIONS[section].title()
        said, blocks = words(at), SECTIONS[section].blocks()
        assert all(block.text.replace("\\", "") in said for block in blocks if block.kind == "text")
        for entry in (entry for block in blocks if block.kind == "table" for entry in guide.TABLES[block.text].values()):
            assert entry.summary in said and entry.use_when in said and entry.label in said
        opened = [(link.proto.page or "overview", link.proto.query_string) for link in at.get("page_link")]
        asked = [link.page for block in blocks for link in block.links]
        assert [page for page, query in opened if not query.startswith(("train.", "route."))][: len(asked)] == asked
        if section == "methods":
            assert [query for _, query in opened][: len(METHODS)] == [f"train.method={name}" for name in METHODS]


def test_a_method_is_chosen_by_a_link_and_a_strange_one_is_not(open_page: Open) -> None:
    at = open_page("train", **{"train.method": "vera"})
    assert at.selectbox(key="train.method").value == "vera" and "train.method" not in at.query_params
    assert open_page("train", **{"train.method": "<script>"}).selectbox(key="train.method").value == "lora"


def test_the_quick_start_speaks_japanese_by_its_address(open_page: Open) -> None:
    at = open_page("guide", lang="ja")
    assert at.header[0].value == "クイックスタート" and "アダプター" in words(at) and "make demo" in words(at)
    at.button_group(key="guide.lang.ja").set_value("en").run()
    assert at.header[0].value == "Quick start" and at.query_params["lang"] == "en"


def test_a_section_is_chosen_by_hand_and_an_unknown_one_is_the_first(open_page: Open) -> None:
    at = open_page("guide", section="nowhere")
    assert at.header[0].value == "Quick start"
    at.button_group(key="guide.section.quick-start").set_value("glossary").run()
    assert at.header[0].value == "Glossary" and at.query_params["section"] == "glossary"


def test_the_calculator_says_what_peft_prints(open_page: Open) -> None:
    at = open_page("guide", section="lora")
    assert figures(at) | {} == figures(at) and figures(at)["Numbers that train"] == "2,252,800"
    assert figures(at)["Share of the model"] == "0.20 %" and figures(at)["Size on disk"] == "9.01 MB"
    assert "LoRA at rank 8 on q, k, v and o of TinyLlama-1.1B trains 2,252,800 numbers, 0.204 % of the model" in words(at)
    at.selectbox(key="size_model").set_value("Llama-2-7B")
    at.number_input(key="size_r").set_value(16)
    at.button_group(key="size_targets").set_value(["q_proj", "v_proj"]).run()
    assert figures(at)["Numbers that train"] == "8,388,608"
    charts = at.get("plotly_chart")
    assert len(charts) == 2 and all(chart.proto.alt for chart in charts)
    at.button_group(key="size_targets").set_value([]).run()
    assert "Choose at least one target module" in words(at) and not at.get("plotly_chart")


def test_a_shape_of_ones_own_and_every_method(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "new", Entry("Brand new", "core.train.lora:Lora", "nowhere", "A row added.", "Never."))
    at = open_page("guide", section="lora")
    at.selectbox(key="size_model").set_value("another shape").run()
    at.number_input(key="size_layers").set_value(1).run()
    assert figures(at)["Numbers that train"] == f"{2_252_800 // 22:,}"
    for method in METHODS:
        at.selectbox(key="size_method").set_value(method).run()
        assert not at.exception
        assert ("no formula is known here" in words(at)) == (method == "new")
    assert "A row added." in words(open_page("guide", section="methods")), "a new row shows up by itself"


@pytest.mark.parametrize("strange", ["NaN", "-Infinity", "1e400", "1e18", "x", ""])
def test_an_address_with_strange_numbers_gets_the_usual_ones(open_page: Open, strange: str) -> None:
    at = open_page("guide", section="lora", size_model="another shape", size_hidden=strange, size_r=strange)
    assert not at.exception and figures(at)["Numbers that train"] == "2,252,800"


def test_the_largest_shape_is_drawn(open_page: Open) -> None:
    largest = {f"size_{name}": str(most) for name, most in guide_calculator.LARGEST.items()}
    at = open_page("guide", section="lora", size_model="another shape", size_r="1024", size_tokens="1000000", **largest)
    assert not at.exception and len(at.get("plotly_chart")) == 2
    chart = guide_charts.over_ranks([10**30] * 11, (8, 10**30), 10**31, "numbers")
    assert all(isinstance(value, float) for value in chart.data[1].y)


def test_an_adapter_is_drawn_and_what_cannot_be_says_why(open_page: Open, home: Path) -> None:
    assert "There is no adapter yet." in words(open_page("guide", section="lora"))
    shutil.copytree(CYNIC, home / "adapters" / "cynic-lora")
    bare = shutil.copytree(CYNIC, home / "merged_adapters" / "bare")
    (bare / "adapter_model.safetensors").unlink()
    at = open_page("guide", section="lora", adapter="cynic-lora", module="self_attn.v_proj")
    said = "cynic-lora, self_attn.v_proj: of 8 directions about 4.17 matter (median effective rank, from 2.66 to 5.20 over 30 layers)."
    assert said in words(at)
    assert at.get("plotly_chart")[-1].proto.alt.startswith("cynic-lora, self_attn.v_proj: of 8 directions")
    at.selectbox(key="adapter").set_value("bare").run()
    assert not at.exception and "bare has no adapter_model.safetensors" in words(at)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    base = tmp_path_factory.mktemp("guide")
    shutil.copytree(CYNIC, base / "adapters" / "cynic-lora")
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        environment.setenv("LYCEUM_HOME", str(base))
        app = App.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(base_url=app.wait(), viewport={"width": 390, "height": 844})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()
        app.end()


class TestBrowser:
    pytestmark = browsing.MARKS

    def test_it_is_read_on_a_small_screen_and_its_buttons_lead_on(self, page: Page) -> None:
        page.goto("/guide?section=lora")
        page.get_by_text("matter (median effective rank").wait_for()
        page.locator(".js-plotly-plot").nth(2).wait_for()
        assert page.evaluate(WIDER) <= 0
        began = time.monotonic()
        page.get_by_role("radio", name="Common problems").click()
        page.get_by_role("heading", name="Out of memory").wait_for()
        assert time.monotonic() - began < 5 and "section=problems" in page.url and page.evaluate(WIDER) <= 0
        page.get_by_role("link", name="RAG or tuning", exact=False).first.click()
        page.get_by_role("heading", name="RAG or tuning").wait_for()
        page.wait_for_url("**/guide?section=rag")
        page.get_by_role("link", name="Next: Glossary").click()
        page.get_by_role("heading", name="Glossary").wait_for()
        page.goto("/guide?section=quick-start&lang=ja")
        page.get_by_role("heading", name="クイックスタート").wait_for()
        page.get_by_role("link", name="自分のデータで始める").click()
        page.get_by_role("heading", name="Start", exact=True).wait_for()
        assert page.url.split("?")[0].endswith("/start")
