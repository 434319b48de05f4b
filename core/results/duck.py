"""SQL over Parquet: DuckDB, one in-memory database for the process, with bounds on its memory and threads.

Values of people are always bound ($name), never part of the SQL. Light: DuckDB is loaded when the first question is asked.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.results import scratch

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY = "400MB"
"""What DuckDB may hold; beyond it, it goes to disk."""
THREADS = min(4, os.cpu_count() or 1)


def ask(sql: str, values: Mapping[str, Any] | None = None, tables: "Mapping[str, pa.Table] | None" = None) -> "pa.Table":
    """The answer to a query. `values`: what its $names stand for; `tables`: Arrow tables that it may name. Any thread may ask."""
    with connected() as connection:
        for name, each in (tables or {}).items():
            connection.register(name, each)
        return connection.sql(sql, params=dict(values or {})).to_arrow_table()


def connected() -> "duckdb.DuckDBPyConnection":
    """A connection of one's own to the process's database; what it registers nobody else sees."""
    return _database().cursor()


@lru_cache(maxsize=1)
def _database() -> "duckdb.DuckDBPyConnection":
    import duckdb

    spilled = scratch.folder() / "duckdb"
    settings: dict[str, Any] = {"memory_limit": MEMORY, "threads": THREADS, "temp_directory": str(spilled)}
    settings |= {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    return duckdb.connect(":memory:", config=settings).execute("SET GLOBAL parquet_metadata_cache = true")
