"""What all tables share: a row is a dataclass; tables are written whole or grow, and are read as DataFrames.

A table of more than LARGE rows has its Parquet folder beside the CSV (core/results/parquet.py), which pages query in place of reading it.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from core import paths
from core.errors import UserError, shown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Row:
    """What all tables share."""

    @classmethod
    def columns(cls) -> list[str]:
        """The table's columns, in order."""
        return [each.name for each in fields(cls)]


Tables = dict[str, tuple[Iterable[Row], type[Row]]]
"""Tables that are to be written, by name."""


LARGE = 100_000
"""Rows beyond which a table is written as Parquet too."""
CHUNK = 20_000
"""Rows of a large table that are held at once."""


def write(path: Path, rows: Iterable[Row], row_type: type[Row]) -> Path:
    """Write a table; it appears whole, by atomic rename. Rows may come from an iterator: they are not held."""
    from core.results import parquet

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            written = _rows_into(file, rows, row_type, new=True)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if written > LARGE:
        parquet.made(path, row_type)
    else:
        parquet.forget(path)
    return path


def append(path: Path, rows: Iterable[Row], row_type: type[Row]) -> None:
    """Add rows to a table that grows while a run goes on; its Parquet is made when it is first asked for."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        _rows_into(file, rows, row_type, new)


def _rows_into(file: IO[str], rows: Iterable[Row], row_type: type[Row], new: bool) -> int:
    """Write rows, in a new file after the head. Returns how many."""
    columns, number = row_type.columns(), 0
    writer = csv.writer(file)
    if new:
        writer.writerow(columns)
    for row in rows:
        writer.writerow([getattr(row, column) for column in columns])
        number += 1
    return number


def read(path: Path, row_type: type[Row]) -> "pd.DataFrame":
    """A table of a run. Raises UserError for one that is gone, or damaged: cut short, empty, or no table at all."""
    with told(path):
        return _checked(path, parse(path, row_type), row_type)


def chunks(path: Path, row_type: type[Row], size: int = CHUNK) -> "Iterator[pd.DataFrame]":
    """The same piece by piece, `size` rows each; the index goes on. At least one piece, empty where the table is."""
    with told(path), _opened(path, row_type, size) as pieces:
        for piece in pieces:
            yield _checked(path, _known(piece, row_type), row_type)


def parse(path: Path, row_type: type[Row]) -> "pd.DataFrame":
    """A CSV file as a DataFrame; text columns keep their text ('None' and 'NA' included), empty numbers are NaN. pandas' errors pass.

    A column with a default may be missing in the file: an older table is read as a newer one.
    """
    return _known(_opened(path, row_type), row_type)


def _opened(path: Path, row_type: type[Row], size: int | None = None) -> Any:
    import pandas as pd

    kinds: dict[str, Any] = {each.name: str for each in fields(row_type) if each.type is str}
    numbers = {column: ["", "nan"] for column in row_type.columns() if column not in kinds}
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=numbers, chunksize=size)


def _known(table: "pd.DataFrame", row_type: type[Row]) -> "pd.DataFrame":
    for each in fields(row_type):
        if each.name not in table and each.default is not MISSING:
            table[each.name] = each.default
    return table[[column for column in row_type.columns() if column in table]]


def _checked(path: Path, table: "pd.DataFrame", row_type: type[Row]) -> "pd.DataFrame":
    if table.empty and not {each.name for each in fields(row_type) if each.default is MISSING} <= set(table):
        raise _damaged(path, "its first line is cut")
    if table[[each.name for each in fields(row_type) if each.type is str and each.name in table]].isna().any(axis=None):
        raise _damaged(path, "a row is cut")
    return table


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Within: what speaks against the file becomes a UserError."""
    try:
        yield
    except FileNotFoundError:
        raise _damaged(path, "it is gone") from None
    except ValueError as error:  # of pandas: no columns, a quote that never ends, no UTF-8
        raise _damaged(path, shown(str(error).strip())) from None


def _damaged(path: Path, why: str) -> UserError:
    run = path.parent.name
    mend = f"Remove that run: python -m core jobs --remove {run}" if path.parent.parent == paths.results() else "Put a whole one there."
    return UserError(f"{paths.shown(path)} can't be read: {why}. {mend}")
