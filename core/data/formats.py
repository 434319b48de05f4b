"""Readers of files and hub datasets. What can't be read is refused by one sentence."""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from core import paths
from core.data import json_rows, texts
from core.data.json_rows import some
from core.data.source import Opened, Source, Table, Values
from core.errors import UserError
from core.wording import listed

SAMPLE = 1000
"""Records that stand for a large source where columns are chosen."""


def load(name: str) -> Table:
    """The records of a JSON, JSONL, CSV, TSV or Parquet file, or of a hub dataset (`id` or `id:configuration`)."""
    return find(name).table()


def sample(name: str) -> Table:
    """The same; of a large source the first records alone."""
    source = find(name)
    return source.table(SAMPLE if source.large else None)


def find(name: str) -> Source:
    """The file or hub dataset that `name` means. Other places that data can be in belong here."""
    path = _existing(name)
    if path is None:
        return _hub(name)
    if path.is_dir():
        raise UserError(f"'{name}' is a folder, not a file. Give one of its files: JSON, JSONL, CSV or Parquet.")
    if not path.is_file():
        raise UserError(f"'{name}' is a device or a pipe, which can't be read twice. Save what it gives as a file: {', '.join(_READERS)}.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"'{name}' ends in '{path.suffix}', which names no known format. Give a file that ends in {', '.join(_READERS)}.")
    return reader(name, path)


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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- text -------------------------------------------------------------------------------------------------------------


def _text(read: Callable[[Path, str], Opened]) -> Callable[[str, Path], Source]:
    """A reader of text files out of one that is told the encoding."""

    def source(name: str, path: Path) -> Source:
        def opened(whole: bool) -> Opened:
            found = read(path, texts.encoding(path, None if whole else 1))
            return replace(found, values=_decoded(path, found.values))

        return Source(name, opened, path.stat().st_size, lambda: _digest(path))

    return source


def _decoded(path: Path, values: Values) -> Values:
    try:
        yield from values
    except UnicodeDecodeError:
        texts.encoding(path)  # says where
        raise


def _json(path: Path, encoding: str) -> Opened:
    if not _is_list(path, encoding):
        json_rows.refuse_single(path, encoding)
    return _jsonl(path, encoding)


def _jsonl(path: Path, encoding: str) -> Opened:
    if _is_list(path, encoding):
        return Opened([], "row", _objects(json_rows.items(path, encoding)))
    return Opened([], "line", _objects(json_rows.lines(path, encoding)))


def _is_list(path: Path, encoding: str) -> bool:
    return texts.head(path, encoding).startswith("[")


def _objects(values: Iterable[tuple[int, Any]]) -> Values:
    return ((place, value if isinstance(value, dict) else "the row is no object with columns") for place, value in values)


def _csv(path: Path, encoding: str) -> Opened:
    first = texts.head(path, encoding).partition("\n")[0]
    values = _records(path, encoding, max(",;\t", key=first.count))
    return Opened(next(values), "line", values)


def _records(path: Path, encoding: str, delimiter: str) -> Iterator[Any]:
    """The header, then the records."""
    csv.field_size_limit(json_rows.LONGEST)
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = [value.strip() for value in next(values for values in reader if values)]
            _refuse_twice(path, header)
            yield header
            ragged = f"the line has not the header's {len(header)} fields"
            for values in reader:
                if values:
                    yield reader.line_num, dict(zip(header, values, strict=True)) if len(values) == len(header) else ragged
        except csv.Error as error:
            raise UserError(f"'{path}' is no CSV in line {reader.line_num}: {error}. Look for a quote that is never closed.") from None


def _refuse_twice(path: Path, columns: list[str]) -> None:
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise UserError(f"'{path}' has more than one column called {some(twice)}, so it is unclear which is meant. Rename all but one.")


# --- Parquet and the hub ----------------------------------------------------------------------------------------------

_PARQUET_ROWS = 1024
"""Read at a time."""
_PARQUET_BUFFER = 2**20


def _parquet(name: str, path: Path) -> Source:
    import pyarrow
    from pyarrow import parquet

    unreadable = (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError)

    def refused(error: Exception) -> UserError:
        return UserError(f"'{path}' is no readable Parquet file: {_first_line(error)} Save it again.")

    def values() -> Values:
        try:
            with parquet.ParquetFile(path, buffer_size=_PARQUET_BUFFER) as file:
                yield from enumerate((row for batch in file.iter_batches(_PARQUET_ROWS) for row in batch.to_pylist()), 1)
        except unreadable as error:
            raise refused(error) from None

    if not path.stat().st_size:
        raise UserError(f"'{path}' is empty (0 bytes). Give a file with at least one question and answer.")
    try:
        with parquet.ParquetFile(path) as file:
            columns, groups = file.schema_arrow.names, [file.metadata.row_group(each) for each in range(file.num_row_groups)]
    except unreadable as error:
        raise refused(error) from None
    _refuse_twice(path, columns)
    unpacked = sum(group.total_byte_size for group in groups)
    return Source(name, lambda _: Opened(columns, "row", values()), unpacked, lambda: _digest(path))


def _hub(name: str) -> Source:
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
    return Source(name, lambda _: Opened(data.column_names, "row", enumerate(data, 1)), data.data.nbytes, lambda: str(data._fingerprint), [note])


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".") + "."


_READERS: dict[str, Callable[[str, Path], Source]] = {
    ".json": _text(_json),
    ".jsonl": _text(_jsonl),
    ".ndjson": _text(_jsonl),
    ".csv": _text(_csv),
    ".tsv": _text(_csv),
    ".parquet": _parquet,
}
