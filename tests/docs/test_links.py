"""Every link, picture, anchor, path and code block of the written pages holds."""

import ast
import json
import re
import shlex
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from core import paths
from docs.hooks import tables
from tests.docs import contributed, reading

PAGES = [pytest.param(page, id=str(page.relative_to(paths.PROJECT))) for page in reading.PAGES]
TREES = ("core", "pages", "deploy", "docs", "data", "tests", "benchmarks", "adapters", "merged_adapters")
"""Folders of the project whose paths are checked. results/ and models/ hold what runs make."""
PATH = re.compile(rf"(?:{'|'.join(TREES)})(?:/[\w.<>*-]+)*/?")
FILE = re.compile(r"[\w.-]+\.(?:py|md|txt|toml|yml|yaml)")
MADE = {thing.file for thing in contributed.read().values()} | {"compose.override.yaml"}
"""Files that the reader makes."""


def addresses() -> list[str]:
    """Every address of the net that a page or a row names, but this machine's."""
    found = {link for page in reading.PAGES for link in reading.links(page) if link.startswith("http")}
    found |= set(re.findall(r"https?://[^\s)>]+", tables.choices_page()))
    return sorted(link for link in found if urlsplit(link).hostname not in ("127.0.0.1", "localhost"))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    for link in reading.links(page):
        if ":" in link.partition("/")[0]:
            address = urlsplit(link)
            assert address.scheme in ("http", "https", "mailto") and (address.hostname or address.scheme == "mailto"), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and target.is_relative_to(paths.PROJECT), f"{page.name} links to {link}"
        assert not anchor or anchor in reading.anchors(target), f"{link}: {sorted(reading.anchors(target))}"


@pytest.mark.parametrize("page", PAGES)
def test_files_and_folders_that_are_named_exist(page: Path) -> None:
    everywhere = {file.name for tree in TREES for file in (paths.PROJECT / tree).rglob("*")} | {
        file.name for file in paths.PROJECT.iterdir()
    }
    shell = [word for block in reading.blocks(page) if block.language in reading.SHELL for word in block.text.split()]
    for word in [word for code in reading.words_in_code(page) for word in code.split()] + shell:
        bare = word.strip("',;()").partition(":")[0].partition("::")[0]
        if PATH.fullmatch(bare) and bare not in MADE and "/" in bare:
            assert list(paths.PROJECT.glob(re.sub(r"<[^>]+>", "*", bare))), f"{page.name} names {bare}"
        elif FILE.fullmatch(bare) and bare not in MADE and not page.is_relative_to(paths.PROJECT / "docs" / "cards"):
            assert bare in everywhere, f"{page.name} names {bare}"


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_can_be_read(page: Path) -> None:
    readers = {"python": _python, "json": json.loads, "yaml": yaml.safe_load, "": str, "csv": str, "text": str, "ini": str, "toml": str}
    for block in reading.blocks(page):
        reader = readers.get(block.language) or (_shell if block.language in reading.SHELL else None)
        assert reader, f"{page.name}:{block.line}: a block of {block.language}, which nothing reads"
        reader(block.text)


def test_pictures_have_words() -> None:
    for page in reading.PAGES:
        for words, picture in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert len(words.split()) >= 3, f"{page.name}: {picture} has no text for those who don't see it"


@pytest.mark.slow
@pytest.mark.net
@pytest.mark.parametrize("address", addresses())
def test_addresses_answer(address: str) -> None:
    """Asks the net: `make links`. An address that forbids programs (403, 429) is there."""
    asked = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as reply:
            assert reply.status < 400
    except urllib.error.HTTPError as error:
        assert error.code in (401, 403, 405, 429), f"{address}: {error}"


def _python(code: str) -> None:
    """A script, or rows of a table."""
    ast.parse("{" + code + "}" if code.startswith("    ") else code)


def _shell(lines: str) -> None:
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        shlex.split(line, comments=True)
