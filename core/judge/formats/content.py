"""What a file holds, and which format that is. Reads JSON, JSON lines, CSV and Parquet."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.judge.formats import FORMATS
from core.wording import count

Content = list[dict[str, Any]] | dict[str, Any]
PIECE = 10_000
"""Records of a CSV file that are held at once."""
_LONGEST_CELL = 2**31 - 1
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read(path: Path) -> Content:
    """The records of a file, or the object that it holds. Raises UserError when it can't be read or holds nothing."""
    import pandas as pd

    with _told(path):
        if path.suffix.lower() in (".csv", ".parquet"):
            content: Any = (pd.read_parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)).to_dict("records")
        else:
            content = _json(path.read_text(encoding="utf-8-sig"), path.suffix.lower() == ".jsonl")
    records = content if isinstance(content, list) else [content]
    if not records or not all(isinstance(each, dict) for each in records):
        raise UserError(f"{path} holds no records (a list of objects, or lines of them), so there is nothing to read. Give another file.")
    return content  # type: ignore[no-any-return]


def stream(path: Path) -> tuple[Content, Iterable[dict[str, Any]] | dict[str, Any]]:
    """What begins a file (its first record, or the object that it is), and the whole; records of a CSV file come piece by piece.

    Raises UserError as `read` does.
    """
    if path.suffix.lower() != ".csv":
        content = read(path)
        return (content if isinstance(content, dict) else content[:1]), content
    records = _records(path)
    first = next(records, None)
    if first is None:
        return read(path), []  # says that it holds none
    return [first], chain([first], records)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with _told(path):
        for piece in _csv(path, PIECE):
            yield from piece.to_dict("records")


def format_of(content: Content, path: Path) -> str:
    """The id of its format, by the keys of its first record. Raises UserError with the keys that are there."""
    keys = set(content if isinstance(content, dict) else content[0])
    for name, each in FORMATS.items():
        if any(wanted <= keys for wanted in each.keys):
            return name
    known = "; ".join(f"{each.label} ({' or '.join(', '.join(sorted(keys)) for keys in each.keys)})" for each in FORMATS.values())
    raise UserError(f"{path} is in no known format of verdicts: it has {', '.join(sorted(map(str, keys)))[:300]}. Known are: {known}.")


def check_csv(path: Path) -> None:
    """Raises UserError where two columns have one name, or a line has another number of cells than the head; empty lines may be.

    Raises UnicodeDecodeError where the file isn't in UTF-8.
    """
    with path.open(encoding="utf-8-sig", newline="") as opened:
        lines = csv.reader(opened)
        csv.field_size_limit(_LONGEST_CELL)
        head = next(lines, [])
        twice = sorted({name for name in head if head.count(name) > 1})
        if twice:
            raise UserError(f"{path} has more than one column called {', '.join(twice)[:300]}. Give every column a name of its own.")
        for cells in lines:
            if cells and len(cells) != len(head):
                raise UserError(
                    f"Line {lines.line_num} of {path} has {count(len(cells), 'cell')}, and its head has {len(head)}. "
                    "Put cells that hold commas into quotation marks, or mend the line."
                )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Within: what speaks against the file becomes a UserError."""
    try:
        yield
    except (ValueError, OSError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else _first_line(error)
        raise UserError(f"{path} can't be read ({why}). Give a JSON, JSONL, CSV or Parquet file in UTF-8.") from None


def _csv(path: Path, piece: int | None = None) -> Any:
    """The table; with `piece` an iterator of tables of so many rows."""
    import pandas as pd

    check_csv(path)
    return pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=piece)


def _json(text: str, lines: bool) -> Any:
    found = _either(text, lines)
    if _SURROGATE.search(text):
        for number, record in enumerate(found if isinstance(found, list) else [found], 1):
            _check_text(record, number)
    return found


def _either(text: str, lines: bool) -> Any:
    """One JSON value, or a list of those of all lines, whichever it is; where it is neither, what the file's name says is told."""
    try:
        return _lines(text) if lines else json.loads(text)
    except ValueError as error:
        try:
            return json.loads(text) if lines else _lines(text)
        except ValueError:
            raise error from None


def _check_text(record: Any, number: int) -> None:
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError(f"record {number} holds half a character, \\ud800 to \\udfff without its other half") from None


def _lines(text: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: {error.msg} at character {error.pos + 1}") from None
    return found


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
