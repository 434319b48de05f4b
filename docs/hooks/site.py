"""What MkDocs does beside its own: pages made from the code, tables in place of their markers, links that leave docs/.

README, CONTRIBUTING and CHANGELOG stand at the top of the project and are pages of the site. What else lies outside docs/ is named,
not linked.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from docs.hooks import modules, tables

PROJECT = Path(__file__).resolve().parents[2]
TOP = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages of the site that stand outside docs/, by where they stand."""
MARKED = re.compile(r"<!-- table: ([\w-]+) -->\n.*?<!-- end of table -->\n", re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """`folder/*` in the navigation becomes the pages of that folder."""
    config.nav = _expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for name, page in TOP.items():
        files.append(File.generated(config, page, content=(PROJECT / name).read_text(encoding="utf-8")))
    made = {"reference/choices.md": tables.choices_page(), "reference/commands.md": tables.commands_page(), **modules.every_page()}
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in tables, and turn links that leave docs/."""
    source = next((name for name, own in TOP.items() if own == page.file.src_uri), f"docs/{page.file.src_uri}")
    return turned(filled(markdown), source)


def filled(markdown: str) -> str:
    """Each table in place of its marker."""
    return MARKED.sub(lambda found: tables.MARKERS[found[1]]() + "\n", markdown)


def turned(markdown: str, source: str) -> str:
    """The links of a file of the project, as the site's page made of it needs them. Code stays."""
    parts = _FENCE.split(markdown)
    return "".join(part if place % 2 else _LINK.sub(lambda found: _turn(found, source), part) for place, part in enumerate(parts))


def _turn(found: re.Match[str], source: str) -> str:
    picture, text, target = found.groups()
    path, _, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", target) or source.startswith("docs/reference/"):
        return found[0]
    aim = os.path.normpath(Path(source).parent / path)
    page = TOP.get(aim) or (aim.removeprefix("docs/") if aim.startswith("docs/") else None)
    if page is None:
        return text if "`" in text else f"`{text}`"
    here = os.path.dirname(TOP.get(source) or source.removeprefix("docs/"))
    return f"{picture}[{text}]({os.path.relpath(page, here or '.')}{'#' + anchor if anchor else ''})"


def _expanded(entry: Any) -> Any:
    if isinstance(entry, list):
        return [each for one in entry for each in _pages(one)]
    return {title: _expanded(inner) for title, inner in entry.items()} if isinstance(entry, dict) else entry


def _pages(entry: Any) -> list[Any]:
    """What an entry stands for: one ending in * for every page whose path begins so, a folder's index first, English before others."""
    if not isinstance(entry, str) or not entry.endswith("*"):
        return [_expanded(entry)]
    made = list(modules.pages()) if entry.startswith("reference/python/") else []
    found = (str(file.relative_to(PROJECT / "docs")) for file in (PROJECT / "docs").glob(f"{entry}.md"))
    return sorted([*made, *found], key=lambda path: (Path(path).name != "index.md", path.split(".")[0], len(path)))
