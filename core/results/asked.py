"""A table of a run, asked by SQL: a large one where its Parquet lies, another from memory. The same questions go to both.

Light: pandas and pyarrow, DuckDB inside.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.results import duck, parquet, table
from core.results.parquet import Said, silent
from core.results.table import Row

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Asked:
    """Rows that queries know as `rows`: the table's columns, and `place`, the row's number from 0."""

    def __init__(self, given: "Path | pd.DataFrame", row_type: type[Row]) -> None:
        """`given`: the Parquet folder of a table, or the table."""
        import numpy as np

        self.files: list[str] = []
        self.held: pa.Table | None = None
        if isinstance(given, Path):
            self.folder, self.files = given, parquet.files(given)
        else:
            self.held = parquet.arrow(given, row_type).append_column("place", [np.arange(len(given))])

    @classmethod
    def opened(cls, file: Path | None, row_type: type[Row], said: Said = silent) -> "Asked":
        """The rows of a CSV; none where there is no file. Of a large table the Parquet is made, if it isn't there yet."""
        import pandas as pd

        if file is None or not file.exists():
            return cls(pd.DataFrame(columns=row_type.columns()), row_type)
        large = parquet.is_large(file, row_type)
        return cls(parquet.made(file, row_type, said) if large else table.read(file, row_type), row_type)

    def ask(self, sql: str, values: Mapping[str, Any] | None = None, tables: "Mapping[str, pa.Table] | None" = None) -> "pd.DataFrame":
        """The answer to a query. `values`: what its $names stand for; `tables`: what it names besides."""
        return self.arrow(sql, values, tables).to_pandas()

    def arrow(self, sql: str, values: Mapping[str, Any] | None = None, tables: "Mapping[str, pa.Table] | None" = None) -> "pa.Table":
        """The same as an Arrow table."""
        if self.held is not None:
            return duck.ask(f"WITH rows AS (SELECT * FROM held) {sql}", values, {**(tables or {}), "held": self.held})
        return duck.ask(f"WITH rows AS ({parquet.placed('files')}) {sql}", {**(values or {}), "files": self.files}, tables)

    def take(self, places: Sequence[int], columns: Sequence[str]) -> "pd.DataFrame":
        """Columns of these rows, in the order given; the index says which."""
        if self.held is None:
            return parquet.take(self.folder, places, columns)
        import pyarrow as pa

        return self.held.select(list(columns)).take(pa.array(places, pa.int64())).to_pandas().set_axis(list(places), axis="index")

    @property
    def columns(self) -> list[str]:
        """What a row has, without `place`."""
        return [name for name in self.arrow("SELECT * FROM rows LIMIT 0").column_names if name != "place"]
