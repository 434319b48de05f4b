"""Rows that pass filters, in an order: conditions that DuckDB is asked when their number, a page or a row is looked at.

What is filtered is a narrow table, `marks`, with a row for each row of something that lies elsewhere. Light: numpy and pyarrow. Values are
bound, never part of the SQL.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

PAGE = 50
"""Rows of a page."""
FIRST = 250
"""Rows of the first pages, which are looked up alone; beyond them all that were found are, with four bytes each, and kept."""


class Marked(Protocol):
    """What has marks: `place`, the row's number from 0, and what filters and orders go by."""

    def __len__(self) -> int:
        """How many rows it has."""
        ...

    def ask(self, sql: str, values: Mapping[str, Any] | None = None, tables: "Mapping[str, pa.Table] | None" = None) -> "pd.DataFrame":
        """The answer to a query of `marks`."""
        ...


class Found:
    """Rows of a table that pass conditions, in an order; asked of DuckDB when they are looked at."""

    def __init__(self, table: Marked, sort: str) -> None:
        """`sort`: a column of marks, different in every row."""
        self._table, self._sort = table, sort
        self._conditions: list[str] = []
        self._values: dict[str, Any] = {}
        self._tables: dict[str, pa.Table] = {}

    def keep(self, condition: str, tables: "Mapping[str, pa.Table] | None" = None, **values: Any) -> None:
        """Only the rows for which this SQL holds; `tables`: that it names besides; `values`: of its $names."""
        self._conditions.append(condition)
        self._tables |= tables or {}
        self._values |= values

    def keep_places(self, name: str, places: Any) -> None:
        """Only these rows. Where they are most of the table, it is the others that are left out, which is quicker."""
        kept = np.zeros(len(self._table), dtype=bool)
        kept[np.asarray(places, dtype=np.int64)] = True
        most = kept.sum() > len(kept) / 2
        chosen = pa.table({"place": pa.array(np.flatnonzero(~kept if most else kept), pa.int64())})
        self.keep(f"place {'NOT' if most else ''} IN (SELECT place FROM {name}_places)", {f"{name}_places": chosen})

    def __len__(self) -> int:
        return len(self._all) if self._whole else self._number

    def __contains__(self, place: int) -> bool:
        if place >= len(self._table):
            return False
        return bool((self._all == place).any()) if self._whole else bool(len(self._ask("place", "AND place = $place", place=place)))

    def __iter__(self) -> Iterator[int]:
        return iter(self.places())

    @property
    def pages(self) -> int:
        """How many pages they fill; one for none."""
        return max(1, -(-len(self) // PAGE))

    def places(self, most: int | None = None, start: int = 0) -> list[int]:
        """Numbers of the rows, in their order: at most so many, from the one at `start` on."""
        if not self._whole and most is not None and start + most <= FIRST:
            found = self._places("LIMIT $most OFFSET $start", most=most, start=start)
        else:
            found = self._all[start : None if most is None else start + most]
        return [int(place) for place in found]

    @property
    def _whole(self) -> bool:
        """Whether all of them are looked up at once: they are known already, or what they are joined with would be joined once more."""
        return bool(self._tables) or "_all" in vars(self)

    @cached_property
    def _all(self) -> np.ndarray:
        return self._places()

    @cached_property
    def _number(self) -> int:
        return int(self._ask("count(*) AS number")["number"].iloc[0])

    def _places(self, rest: str = "", **values: Any) -> np.ndarray:
        return np.asarray(self._ask("place::INT AS place", f"ORDER BY {self._sort} {rest}", **values)["place"])

    def _ask(self, what: str, rest: str = "", **values: Any) -> "pd.DataFrame":
        where = " AND ".join(["true", *self._conditions])
        return self._table.ask(f"SELECT {what} FROM marks WHERE {where} {rest}", {**self._values, **values}, self._tables)
