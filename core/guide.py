"""The guide: docs/guide/*.md, one file a section, in the order of their numbers. The app's page and the documentation show the same files.

In a file, `<!-- table: NAME -->` stands for a table made from the code, `<!-- part: NAME -->` for a part that only the app has (each with
what stands there elsewhere, up to `<!-- end of ... -->`), and `<!-- open: PAGE?QUERY | LABEL -->` for a button that opens a page.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from core import paths
from core.merge import ROUTERS, STRATEGIES
from core.rag import PIPELINES
from core.registry import Entry
from core.train import METHODS
from core.wording import plain

TABLES: dict[str, Mapping[str, Entry]] = {"methods": METHODS, "strategies": STRATEGIES, "routers": ROUTERS, "pipelines": PIPELINES}
_SPLIT = re.compile(
    r"^<!-- (table|part): ([\w-]+) -->\n.*?^<!-- end of \1 -->\n|((?:^<!-- open: .+? -->\n)+)",
    re.MULTILINE | re.DOTALL,
)
_OPEN = re.compile(r"<!-- open: (\w+)(?:\?(\S+))? \| (.+?) -->")
_SOURCE = re.compile(r"arXiv:(\d{4}\.\d{4,5})|(https?://\S*[^\s;,.])")


@dataclass(frozen=True)
class Link:
    """A button that opens a page of the app."""

    page: str
    query: dict[str, str]
    label: str


@dataclass(frozen=True)
class Block:
    """A piece of a section: `kind` is text, table, part or links."""

    kind: str
    text: str = ""
    """Markdown of a text; the name of a table or part."""
    links: tuple[Link, ...] = ()


@dataclass(frozen=True)
class Section:
    """One section, in the languages that it is written in."""

    key: str
    """Its name in an address: /guide?section=methods."""
    files: Mapping[str, Path]
    """By language: en, ja."""

    def title(self, language: str = "en") -> str:
        """The heading of its file."""
        with self.files[language].open(encoding="utf-8") as file:
            return file.readline().removeprefix("# ").strip()

    def blocks(self, language: str = "en") -> list[Block]:
        """What stands below the heading, in order."""
        _, _, text = self.files[language].read_text(encoding="utf-8").partition("\n")
        return blocks(text)


def sections() -> dict[str, Section]:
    """The sections by key, in order: `5-methods.md` is the fifth, `1-quick-start.ja.md` the first in Japanese."""
    found: dict[str, dict[str, Path]] = {}
    for file in sorted((paths.PROJECT / "docs" / "guide").glob("*.md"), key=lambda file: int(file.name.partition("-")[0])):
        key, _, language = file.stem.partition("-")[2].partition(".")
        found.setdefault(key, {})[language or "en"] = file
    return {key: Section(key, files) for key, files in found.items()}


def blocks(text: str) -> list[Block]:
    """A Markdown text in pieces."""
    pieces, end = [], 0
    for found in _SPLIT.finditer(text):
        pieces.append(Block("text", text[end : found.start()].strip()))
        kind, name, links = found.groups()
        pieces.append(Block("links", links=_links(links)) if links else Block(kind, name))
        end = found.end()
    return [piece for piece in [*pieces, Block("text", text[end:].strip())] if piece.kind != "text" or piece.text]


def cited(reference: str) -> str:
    """A row's reference in Markdown: arXiv numbers and addresses are links, all else is plain."""
    said, end = "", 0
    for found in _SOURCE.finditer(reference):
        number, address = found.groups()
        link = f"[arXiv:{number}](https://arxiv.org/abs/{number})" if number else f"[{plain(address)}]({address})"
        said += plain(reference[end : found.start()]) + link
        end = found.end()
    return said + plain(reference[end:])


def _links(lines: str) -> tuple[Link, ...]:
    found = []
    for page, query, label in _OPEN.findall(lines):
        found.append(Link(page, {name: values[0] for name, values in parse_qs(query).items()}, label))
    return tuple(found)
