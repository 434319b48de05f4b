"""What all tables share: a row is a dataclass; tables are written whole or grow, and are read as DataFrames."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


Tables = dict[str, tuple[Sequence[Row], type[Row]]]
"""Tables that are to be written, by name."""


def write(path: Path, rows: Iterable[Row], row_type: type[Row]) -> Path:
    """Write a table; it appears whole, by atomic rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row_type.columns())
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    os.replace(temporary, path)
    return path


def append(path: Path, rows: Iterable[Row], row_type: type[Row]) -> None:
    """Add rows to a table that grows while a run goes on."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row_type.columns())
        if new:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read(path: Path, row_type: type[Row]) -> "pd.DataFrame":
    """A table of a run. Raises UserError for one that is gone, or damaged: cut short, empty, or no table at all."""
    try:
        table = parse(path, row_type)
    except FileNotFoundError:
        raise _damaged(path, "it is gone") from None
    except ValueError as error:  # of pandas: no columns, a quote that never ends, no UTF-8
        raise _damaged(path, shown(str(error).strip())) from None
    if table.empty and not {each.name for each in fields(row_type) if each.default is MISSING} <= set(table):
        raise _damaged(path, "its first line is cut")
    if table[[each.name for each in fields(row_type) if each.type is str and each.name in table]].isna().any(axis=None):
        raise _damaged(path, "a row is cut")
    return table


def parse(path: Path, row_type: type[Row]) -> "pd.DataFrame":
    """A CSV file as a DataFrame; text columns keep their text ('None' and 'NA' included), empty numbers are NaN. pandas' errors pass.

    A column with a default may be missing in the file: an older table is read as a newer one.
    """
    import pandas as pd

    kinds: dict[str, Any] = {each.name: str for each in fields(row_type) if each.type is str}
    numbers = {column: ["", "nan"] for column in row_type.columns() if column not in kinds}
    table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=numbers)
    for each in fields(row_type):
        if each.name not in table and each.default is not MISSING:
            table[each.name] = each.default
    return table[[column for column in row_type.columns() if column in table]]


def _damaged(path: Path, why: str) -> UserError:
    run = path.parent.name
    mend = f"Remove that run: python -m core jobs --remove {run}" if path.parent.parent == paths.results() else "Put a whole one there."
    return UserError(f"{paths.shown(path)} can't be read: {why}. {mend}")
