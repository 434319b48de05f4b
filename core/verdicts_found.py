"""Verdicts that pass filters, in an order: conditions that DuckDB is asked when their number, a page or a row is looked at.

Light: numpy, pandas and pyarrow. Values are bound, never part of the SQL.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from core.judge.measures import JUDGED

if TYPE_CHECKING:
    from core.verdict_table import VerdictTable

PAGE = 50
"""Rows of a page."""
FIRST = 250
"""Rows of the first pages, which are looked up alone; beyond them all that were found are, with four bytes each, and kept."""


class Found:
    """Rows of a table that pass conditions, in an order; asked of DuckDB when they are looked at."""

    def __init__(self, table: "VerdictTable", sort: str) -> None:
        """`sort`: a column of marks, different in every row."""
        self._table, self._sort = table, sort
        self._conditions: list[str] = []
        self._values: dict[str, Any] = {}
        self._tables: dict[str, pa.Table] = {}

    def keep(self, condition: str, **values: Any) -> None:
        """Only the rows for which this SQL holds; `values`: of its $names."""
        self._conditions.append(condition)
        self._values |= values

    def keep_places(self, name: str, places: Any) -> None:
        """Only these rows. Where they are most of the table, it is the others that are left out, which is quicker."""
        kept = np.zeros(len(self._table), dtype=bool)
        kept[np.asarray(places)] = True
        most = kept.sum() > len(kept) / 2
        chosen = np.flatnonzero(~kept if most else kept)
        self._tables[f"{name}_places"] = pa.table({"place": pa.array(chosen, pa.int64())})
        self.keep(f"place {'NOT' if most else ''} IN (SELECT place FROM {name}_places)")

    def keep_said(self, wanted: str, people: "pd.Series[str] | None") -> None:
        """Only the rows of which people said something, or the same as the judge, or something else."""
        said = pd.Series(dtype=str) if people is None else people
        columns = {"pair": pa.array(said.index.astype(str), pa.string()), "word": pa.array(said.to_numpy(dtype=object), pa.string())}
        self._tables["said"] = pa.table(columns)
        self.keep("pair IN (SELECT pair FROM said)")
        if wanted != "voted":
            same = "(pair, verdict) IN (SELECT (pair, word) FROM said)"
            self.keep(f"list_contains($judged, verdict) AND {same if wanted == 'agree' else f'NOT {same}'}", judged=list(JUDGED))

    def __len__(self) -> int:
        return len(self._all) if self._whole else self._number

    def __contains__(self, place: int) -> bool:
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

    def _ask(self, what: str, rest: str = "", **values: Any) -> pd.DataFrame:
        where = " AND ".join(["true", *self._conditions])
        return self._table.ask(f"SELECT {what} FROM marks WHERE {where} {rest}", {**self._values, **values}, self._tables)
