"""The documentation as pages: complete, strict, made and read without the net."""

import re
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config

from core import paths
from core.verbs import VERBS
from docs.hooks import modules, site, tables
from tests.docs import reading


class Loads(HTMLParser):
    """Addresses that a browser asks for when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        if tag == "link" and held.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(held.get("href") or "")
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(held.get("src") or "")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site without docstrings, which take most of the time (so anchors of modules lead nowhere); strict, and with the net unplugged."""

    def unplugged(*_: Any) -> None:
        raise AssertionError("the build asks the net")

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", unplugged)
        patch.chdir(paths.PROJECT)
        usual = yaml.unsafe_load((paths.PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))["validation"]
        config = load_config("mkdocs.yml", site_dir=str(folder), strict=True, plugins=["search"], validation={**usual, "anchors": "info"})
        build(config)
    return folder


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_every_written_page_and_every_made_one_is_in_the_site(pages: Path) -> None:
    written = {
        page.relative_to(paths.PROJECT / "docs").with_suffix(".html")
        for page in reading.PAGES
        if page.is_relative_to(paths.PROJECT / "docs")
    }
    made = {
        Path(name).with_suffix(".html")
        for name in (*site.TOP.values(), "reference/choices.md", "reference/commands.md", *modules.every_page())
    }
    there = {page.relative_to(pages) for page in pages.rglob("*.html")}
    assert written | made <= there
    index = (pages / "index.html").read_text(encoding="utf-8")
    assert 'href="training.html"' in index and 'src="overview.png"' in index and (pages / "overview.png").exists()


def test_nothing_is_loaded_from_elsewhere(pages: Path) -> None:
    for page in pages.rglob("*.html"):
        parser = Loads()
        parser.feed(page.read_text(encoding="utf-8"))
        for address in parser.found:
            assert not re.match(r"(?:[a-z]+:)?//", address), f"{page.name} loads {address}"
            if address and not address.startswith("data:"):
                assert (page.parent / address.partition("?")[0].partition("#")[0]).resolve().exists() or page.name == "404.html", address
    for style in pages.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_tables_of_the_code_stand_in_the_pages(pages: Path) -> None:
    everything = text_of(pages / "reference" / "choices.html")
    for _, where, table in tables.CHOICES.values():
        assert f"python -m core {where}" in everything
        for word, row in table.items():
            assert word in everything and " ".join(row.label.split()) in everything.replace("&amp;", "&")
    methods, strategies, _ = (tables.CHOICES[name][2] for name in ("methods", "strategies", "metrics"))
    assert set(methods) <= set(re.findall(r"<code>(\w+)</code></td>", (pages / "training.html").read_text(encoding="utf-8")))
    assert set(strategies) <= set(re.findall(r"<code>(\w+)</code></td>", (pages / "merging.html").read_text(encoding="utf-8")))
    for page in pages.rglob("*.html"):
        assert "table: " not in "".join(re.findall(r"<!--(.*?)-->", page.read_text(encoding="utf-8"))), (
            f"{page.name}: a marker that nothing fills"
        )


def test_every_field_of_every_verb_is_described(pages: Path) -> None:
    said = " ".join(text_of(pages / "reference" / "commands.html").split())
    for verb, row in VERBS.items():
        assert f'id="{verb}"' in (pages / "reference" / "commands.html").read_text(encoding="utf-8")
        for field in row.config.model_fields:
            assert f"--{field}" in said, f"{verb} --{field}"
    for verb in ("serve", "chat", "jobs"):
        assert f'id="{verb}"' in (pages / "reference" / "commands.html").read_text(encoding="utf-8")


def test_every_module_of_core_is_listed() -> None:
    listed = {name for names in modules.pages().values() for name in names}
    there = {
        ".".join(file.relative_to(paths.PROJECT).with_suffix("").parts).removesuffix(".__init__")
        for file in (paths.PROJECT / "core").rglob("*.py")
        if file.name != "__main__.py"
    }
    assert there == listed
    assert all(modules.said(modules._file(name)) for name in listed), "a module without a docstring"


def test_links_that_leave_the_documents_are_turned() -> None:
    text = "See [the guide](docs/training.md#methods), [this](CONTRIBUTING.md), [that](LICENSE), [net](https://x.org).\n```\n[a](LICENSE)\n```\n"
    turned = site.turned(text, "README.md")
    assert turned == (
        "See [the guide](training.md#methods), [this](contributing.md), `that`, [net](https://x.org).\n```\n[a](LICENSE)\n```\n"
    )
    assert site.turned("[up](../../README.md) [side](../rag.md)", "docs/guide/x.md") == "[up](../index.md) [side](../rag.md)"


@pytest.mark.slow
def test_the_whole_site_with_docstrings_is_strict(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=paths.PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    merge = tmp_path / "site" / "reference" / "python" / "merge.html"
    assert 'id="core.merge.sums.linear"' in merge.read_text(encoding="utf-8") and "exact (Ilharco et al. 2022" in text_of(merge)
