"""Text files that may be larger than memory: checked from front to back, then read as lines, rows of JSON or records of CSV."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.errors import UserError

_BLOCK = 1 << 20
_MAGIC = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF",
    b"SQLite": "an SQLite database",
}
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def encoding(path: Path, blocks: int | None = None) -> str:
    """The encoding of a text file: UTF-8, or what its byte-order mark says. Raises UserError where its bytes are no such text.

    `blocks`: look at so many megabytes from its beginning only.
    """
    try:
        with path.open("rb") as file:
            return _checked(path, file, blocks)
    except OSError as error:
        raise UserError(f"'{path}' can't be read: {error.strerror}. Check its permissions.") from None


def head(path: Path, encoding: str) -> str:
    """The beginning of the text, without the blanks before it."""
    with path.open(encoding=encoding, newline="") as file:
        while text := file.read(_BLOCK):
            if text := text.lstrip():
                return text
    return ""


def _checked(path: Path, file: BinaryIO, blocks: int | None) -> str:
    start = file.read(8)
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    if kind:
        raise UserError(f"'{path}' is called {path.suffix} but is {kind}. Give its real ending, or save it as {path.suffix}.")
    found = next((encoding for mark, encoding in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    file.seek(0)
    name, blank, size, bad = found or "utf-8", True, 0, ""
    decoder = codecs.getincrementaldecoder(name)()
    for line, block in _blocks(file, blocks):
        if found is None and 0 in block:
            line += block.count(b"\n", 0, block.index(0))
            raise UserError(
                f"'{path}' holds a NUL byte in line {line}: it is a binary file, or UTF-16 without a byte-order mark. Save it as UTF-8 text."
            )
        size += len(block)
        if not bad:
            try:
                blank &= not decoder.decode(block, final=not block).strip()
            except UnicodeDecodeError as error:
                bad = _no_text(path, name, line, error)
    if bad:
        raise UserError(bad)
    if blank:
        raise UserError(f"'{path}' is empty ({size} bytes). Give a file with at least one question and answer.")
    return name


def _blocks(file: BinaryIO, most: int | None) -> Iterator[tuple[int, bytes]]:
    """The number of each block's first line, and the block; an empty one when the file has ended."""
    line, read = 1, 0
    while most is None or read < most:
        block = file.read(_BLOCK)
        yield line, block
        if not block:
            return
        line, read = line + block.count(b"\n"), read + 1


def _no_text(path: Path, encoding: str, line: int, error: UnicodeDecodeError) -> str:
    line += error.object.count(b"\n", 0, error.start)
    byte = error.object[error.start]
    return f"'{path}' is no {encoding.upper()} text: byte 0x{byte:02x} in line {line} doesn't fit. Save it as UTF-8."
