"""Readers: the bytes of one file to its text. What can't be read is refused with a reason; headings of HTML and Word become Markdown's."""

import io
import logging
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

Reader = Callable[[bytes], tuple[str, str]]
"""The text, and a note on how it was read, or ''. Raises Refused."""


class Refused(Exception):
    """The file can't be read; the message is why, in a sentence."""


def read_text(reader: Reader, data: bytes) -> tuple[str, str]:
    """Text and note of one file. Raises Refused also where a library fails on it, and where there is no text."""
    try:
        text, note = reader(data)
    except Refused:
        raise
    except Exception as error:  # a broken file fails in as many ways as there are lines in the libraries that read it
        what = str(error).strip().splitlines()
        raise Refused(cleaned(f"It is broken: {type(error).__name__}{f' ({what[0][:120]})' if what else ''}.")) from None
    text = cleaned(text)
    if not text.strip():
        raise Refused("It holds no text.")
    return text, note


def cleaned(text: str) -> str:
    """Text that can be written anywhere: lines end in \\n, no NUL, halves of characters paired or replaced."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def plain(data: bytes) -> tuple[str, str]:
    """Markdown and plain text: UTF-8, UTF-16 with its mark, or else Windows-1252, which holds Latin-1's letters."""
    text, note = _decoded(data)
    if _binary(text):
        raise Refused("It is binary, not text.")
    return text, note


def _decoded(data: bytes) -> tuple[str, str]:
    """The first encoding that fits; the note says where it was a guess."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16"), ""
        except UnicodeDecodeError:
            raise Refused("It begins as UTF-16 and isn't.") from None
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        pass
    if _binary(data.decode("latin-1")):
        raise Refused("It is binary, not text.")
    try:
        return data.decode("cp1252"), "read as Latin-1 (Windows-1252), because it isn't UTF-8."
    except UnicodeDecodeError:
        raise Refused("Its encoding isn't known: it is neither UTF-8, UTF-16 nor Latin-1. Save it as UTF-8.") from None


def _binary(text: str) -> bool:
    """Whether text holds NUL, or more than one control character in two hundred."""
    control = sum(map(text.count, _CONTROL))
    return "\0" in text or control * 200 > len(text)


_CONTROL = [chr(code) for code in (*range(1, 9), *range(14, 27), *range(28, 32), 127)]

_GAPS = {
    **dict.fromkeys(["br", "caption", "dd", "div", "dt", "figcaption", "footer", "header", "hr", "legend", "li", "title", "tr"], "\n"),
    **dict.fromkeys(["article", "aside", "blockquote", "dl", "fieldset", "figure", "form", "main", "nav", "ol", "p"], "\n\n"),
    **dict.fromkeys(["pre", "section", "table", "ul", "h1", "h2", "h3", "h4", "h5", "h6"], "\n\n"),
}
"""What stands before and after the text of these tags."""
_UNSEEN = ["script", "style", "template", "noscript", "iframe", "svg", "math", "object"]


def html(data: bytes) -> tuple[str, str]:
    """The text that is seen: no scripts, styles, comments or hidden parts."""
    from bs4 import BeautifulSoup
    from bs4.dammit import EncodingDetector

    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    try:
        source, note = (data.decode(declared), "") if declared and not data.startswith((b"\xff\xfe", b"\xfe\xff")) else plain(data)
    except (LookupError, UnicodeDecodeError):
        source, note = plain(data)
    soup = BeautifulSoup(source, "html.parser")
    return _seen(soup), note


def _seen(soup: "BeautifulSoup") -> str:
    """Text of the tree, walked without recursion, since tags may be nested as deep as a file is long."""
    from bs4.element import CData, NavigableString, Tag

    parts: list[str] = []
    left: list[Any] = [soup]
    while left:
        each = left.pop()
        if isinstance(each, Tag):
            if each.name not in _UNSEEN and not each.has_attr("hidden"):
                gap = _GAPS.get(each.name, "")
                parts.append(gap + _heading(each.name))
                inner = [each.get_text()] if each.name == "pre" else each.contents[::-1]
                left += [gap + _cell_end(each), *inner]
        elif type(each) in (NavigableString, CData):
            parts.append(re.sub(r"\s+", " ", each))
        elif type(each) is str:
            parts.append(each)
    lines = (line.strip(" \t") for line in "".join(parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _heading(tag: str) -> str:
    return "#" * int(tag[1]) + " " if re.fullmatch("h[1-6]", tag) else ""


def _cell_end(tag: "Tag") -> str:
    return " | " if tag.name in ("td", "th") and tag.find_next_sibling(["td", "th"]) else ""


def pdf(data: bytes) -> tuple[str, str]:
    """The text of the pages, an empty line between them. A scan without text is refused."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = PdfReader(io.BytesIO(data))
    try:
        locked = reader.is_encrypted and not reader.decrypt("")
    except (DependencyError, NotImplementedError):
        locked = True
    if locked:
        raise Refused("It is protected by a password. Save it without one.")
    text = "\n\n".join(page.extract_text() for page in reader.pages)
    if not text.strip():
        raise Refused(f"Its {len(reader.pages)} pages hold no text; scanned pages need text recognition first.")
    return text, ""


_LARGEST_DOCUMENT = 200_000_000
"""Bytes that a docx may unpack to."""


def docx(data: bytes) -> tuple[str, str]:
    """Paragraphs and tables in their order; a table's row is a line."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Refused("It is protected by a password, or a .doc of before 2007. Save it as a docx without a password.")
    from docx import Document

    unpacked = sum(part.file_size for part in zipfile.ZipFile(io.BytesIO(data)).infolist())
    if unpacked > _LARGEST_DOCUMENT:
        raise Refused(f"It unpacks to {unpacked:,} bytes, more than the {_LARGEST_DOCUMENT:,} that are read.")
    return "\n\n".join(part for part in _parts(Document(io.BytesIO(data))) if part.strip()), ""


def _parts(container: Any) -> Iterator[str]:
    """Paragraphs and tables of a document or of a cell."""
    from docx.table import Table

    for block in container.iter_inner_content():
        if isinstance(block, Table):
            yield "\n".join(_row(row) for row in block.rows)
        else:
            heading = re.fullmatch(r"Heading ([1-6])", block.style.name if block.style is not None else "")
            yield f"{'#' * int(heading[1])} {block.text}" if heading else block.text


def _row(row: Any) -> str:
    """Cells beside each other; one that spans several columns stands once."""
    cells = {cell._tc: cell for cell in row.cells}
    return " | ".join(" ".join(" ".join(_parts(cell)).split()) for cell in cells.values())


READERS: dict[str, Reader] = {
    ".md": plain,
    ".markdown": plain,
    ".txt": plain,
    ".text": plain,
    ".html": html,
    ".htm": html,
    ".pdf": pdf,
    ".docx": docx,
}
