"""What a Markdown file of the project says that can be checked: links, code blocks, commands, paths."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")
PAGES = [*(PROJECT / name for name in TOP), *sorted((PROJECT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(
    r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)(?: \"[^\"]*\")?\)|<(https?://[^>\s]+)>|(?<![(<\w\"'=`])(https?://[^\s|)>`\"']+)"
)
SHELL = ("bash", "sh", "shell", "console")
_CODE = re.compile(r"``(.+?)``|`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for each in FENCE.finditer(text):
        indent, language, code = each.groups()
        plain = "".join(line.removeprefix(indent) for line in code.splitlines(keepends=True))
        found.append(Block(language, plain, text.count("\n", 0, each.start()) + 1))
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks and HTML comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.DOTALL)


def links(page: Path) -> list[str]:
    """Targets of links and pictures, and addresses; what stands in code is none."""
    return [next(filter(None, each.groups())).rstrip(".,;") for each in _LINK.finditer(_CODE.sub("", prose(page)))]


def words_in_code(page: Path) -> list[str]:
    """What stands between backticks in a page's prose."""
    return [one or other for one, other in _CODE.findall(prose(page))]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        names.add(f"{slug}-{count}" if count else slug)
    return names


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each line of a shell block, and of each command between backticks; from `make` or the module's name on."""
    for line in [*_lines(page), *words_in_code(page)]:
        found = re.search(r"(?:^|[ /])(make [\w-]+.*|-m core\b.*)", line.strip())
        if found and (found[1].startswith("-m core") or found.start() == 0):
            yield shlex.split(found[1].removeprefix("-m ").replace("core -- ", "core "), comments=True)


def _lines(page: Path) -> list[str]:
    """The lines of the shell blocks; those that go on are joined."""
    text = "\n".join(block.text for block in blocks(page) if block.language in SHELL)
    return [line for line in re.sub(r" *\\\n\s*", " ", text).splitlines() if line.strip() and not line.lstrip().startswith("#")]
