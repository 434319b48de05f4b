"""Files and hub datasets as records, before any column has a meaning. What can't be read is refused by one sentence."""

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import paths
from core.errors import UserError
from core.wording import listed

Record = dict[str, Any]
Drops = dict[str, list[int]]
"""Why a record can't be used -> where such records stand."""


@dataclass(frozen=True)
class Table:
    """Records as they stand in the source."""

    columns: list[str]
    records: list[tuple[int, Record]]
    """Where a record stands (1 is the first), and its values by column."""
    place: str
    """What the number counts: 'line' of a text file, or 'row'."""
    dropped: Drops = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What a reader should know of how the source was read."""


def load(name: str) -> Table:
    """The records of a JSON, JSONL, CSV, TSV or Parquet file, or of a hub dataset (`id` or `id:configuration`)."""
    path = _existing(name)
    if path is None:
        return _hub(name)
    if not path.is_file():
        raise UserError(f"'{name}' is a folder, not a file. Give one of its files: JSON, JSONL, CSV or Parquet.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"'{name}' ends in '{path.suffix}', which names no known format. Give a file that ends in {', '.join(_READERS)}.")
    table = reader(path)
    if not table.records and not table.dropped:
        raise UserError(f"'{name}' holds no rows. Give a file with at least one question and answer.")
    return table


def _existing(name: str) -> Path | None:
    """The path that `name` means; None when it can only be a hub id."""
    try:
        path = paths.data_file(name)
        if path.exists():
            return path
    except OSError as error:
        raise UserError(f"'{name[:80]}' can't be opened: {error.strerror}. Give another path.") from None
    if path.suffix.lower() in _READERS or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?", name):
        looked = list(dict.fromkeys(map(str, (Path.cwd(), paths.PROJECT))))
        raise UserError(f"There is no file '{name}' (looked in {listed(looked)}). Check the path.")
    return None


# --- text -------------------------------------------------------------------------------------------------------------

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


def _text(path: Path) -> str:
    """The file's text: UTF-8, or what its byte-order mark says."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"'{path}' can't be read: {error.strerror}. Check its permissions.") from None
    kind = next((kind for magic, kind in _MAGIC.items() if raw.startswith(magic)), None)
    if kind:
        raise UserError(f"'{path}' is called {path.suffix} but is {kind}. Give its real ending, or save it as {path.suffix}.")
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS.items() if raw.startswith(mark)), None)
    if encoding is None and b"\0" in raw:
        raise UserError(
            f"'{path}' holds a NUL byte in line {_line(raw, raw.index(0))}: it is a binary file, or UTF-16 without a byte-order mark. "
            "Save it as UTF-8 text."
        )
    try:
        text = raw.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"'{path}' is no {(encoding or 'utf-8').upper()} text: byte 0x{raw[error.start]:02x} in line {_line(raw, error.start)} "
            "doesn't fit. Save it as UTF-8."
        ) from None
    if not text.strip():
        raise UserError(f"'{path}' is empty ({len(raw)} bytes). Give a file with at least one question and answer.")
    return text


def _line(raw: bytes, position: int) -> int:
    return raw.count(b"\n", 0, position) + 1


# --- JSON and JSONL ---------------------------------------------------------------------------------------------------


def _json(path: Path) -> Table:
    text = _text(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.lineno > 1 and not text.lstrip().startswith("["):
            return _json_lines(path, text)
        raise UserError(f"'{path}' is no JSON: {error.msg} in line {error.lineno}, column {error.colno}. Mend it there.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' can't be read as JSON: {error}. Give a list of objects.") from None
    if not isinstance(value, list):
        kind = f"one object (keys: {_some(value)})" if isinstance(value, dict) else f"one value ({type(value).__name__})"
        raise UserError(f"'{path}' holds {kind}, not a list of rows. Save the rows as a list: [{{...}}, {{...}}].")
    return _objects(enumerate(value, 1), "row")


def _jsonl(path: Path) -> Table:
    text = _text(path)
    return _json(path) if text.lstrip().startswith("[") else _json_lines(path, text)


def _json_lines(path: Path, text: str) -> Table:
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                values.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                cause = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise UserError(f"Line {number} of '{path}' is no JSON: {cause}. Mend or delete that line.") from None
    return _objects(values, "line")


def _objects(values: Iterable[tuple[int, Any]], place: str) -> Table:
    records: list[tuple[int, Record]] = []
    dropped: Drops = {}
    columns: dict[str, None] = {}
    for number, value in values:
        if isinstance(value, dict):
            records.append((number, value))
            columns.update(dict.fromkeys(value))
        else:
            dropped.setdefault("the row is no object with columns", []).append(number)
    return Table(list(columns), records, place, dropped)


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv(path: Path) -> Table:
    text = _text(path)
    first = text.lstrip().partition("\n")[0]
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    header: list[str] | None = None
    records: list[tuple[int, Record]] = []
    dropped: Drops = {}
    try:
        for values in reader:
            if not values:
                continue
            if header is None:
                header = _header(path, values)
            elif len(values) == len(header):
                records.append((reader.line_num, dict(zip(header, values, strict=True))))
            else:
                dropped.setdefault(f"the line has not the header's {len(header)} fields", []).append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"'{path}' is no CSV in line {reader.line_num}: {error}. Look for a quote that is never closed.") from None
    return Table(header or [], records, "line", dropped)


def _header(path: Path, values: list[str]) -> list[str]:
    header = [value.strip() for value in values]
    _refuse_twice(path, header)
    return header


def _refuse_twice(path: Path, columns: list[str]) -> None:
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise UserError(f"'{path}' has more than one column called {_some(twice)}, so it is unclear which is meant. Rename all but one.")


# --- Parquet and the hub ----------------------------------------------------------------------------------------------


def _parquet(path: Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    if not path.stat().st_size:
        raise UserError(f"'{path}' is empty (0 bytes). Give a file with at least one question and answer.")
    try:
        table = parquet.ParquetFile(path).read()
        _refuse_twice(path, table.column_names)
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is no readable Parquet file: {_first_line(error)} Save it again.") from None
    return Table(table.column_names, list(enumerate(rows, 1)), "row")


def _hub(name: str) -> Table:
    """A hub dataset: its train split, or all splits where there is none (rows are split anew by their question)."""
    from core.models import hub

    hub.settle()
    import datasets

    hub_id, _, configuration = name.partition(":")
    try:
        splits = datasets.load_dataset(hub_id, configuration or None)
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"'{name}' is no file here, and the hub dataset of that id can't be loaded ({_first_line(error)}) "
            "Check the id, the network and HF_HUB_OFFLINE, or download the rows as a file and give its path."
        ) from None
    used = ["train"] if "train" in splits else list(splits)
    data = datasets.concatenate_datasets([splits[split] for split in used])
    note = f"read from the hub's split {' and '.join(used)} and split anew by question"
    return Table(data.column_names, list(enumerate(data, 1)), "row", notes=[note])


def _some(names: Iterable[Any], most: int = 12) -> str:
    """Names for a sentence, not too many and not too long."""
    shown = [f"'{str(name)[:40]}'" for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".") + "."


_READERS: dict[str, Callable[[Path], Table]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
