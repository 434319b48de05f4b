"""The Parquet folder beside a large table: `verdicts.parquet/part-00000.parquet`, ..., with the rows in the order of verdicts.csv.

The CSV stays what a table is; the folder is made from it, piece by piece, and made anew when the CSV has become another. It appears whole,
by atomic rename. Row n lies in part n // PART, there in row group (n % PART) // GROUP, so any few rows are read without the rest.
"""

import fcntl
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.results import table
from core.results.table import Row

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

PART = 131_072
"""Rows of a file."""
GROUP = 1_024
"""Rows that are read together: few enough that fifty rows from all over a table come at once."""
STATE = "of.json"
"""Of which state of the CSV a folder was made, and the size of each of its files."""
Said = Callable[[int, str], None]
"""Told how many rows are done, and what was done with them."""


def silent(done: int, what: str) -> None:
    """Tells nobody."""


def folder(path: Path) -> Path:
    """Where the Parquet of a CSV lies."""
    return path.with_suffix(".parquet")


def files(made: Path) -> list[str]:
    """The parts of a folder, in order."""
    return [str(part) for part in sorted(made.glob("part-*.parquet"))]


def placed(files: str) -> str:
    """SQL: a table with `place`, each row's number from 0. `files`: the name of the value that has the files of its folder."""
    return f"SELECT *, (file_index * {PART} + file_row_number)::BIGINT AS place FROM read_parquet(${files})"


def is_made(path: Path) -> bool:
    """Whether the folder is there, of the CSV as it stands."""
    return same(folder(path), path)


def is_large(path: Path, row_type: type[Row]) -> bool:
    """Whether a table has more than LARGE rows. One without its folder is looked through as far as that takes."""
    if is_made(path):
        return True
    if _state(path)["bytes"] < table.LARGE * len(row_type.columns()):  # a row has a comma less, and a line's end
        return False
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return lines > table.LARGE and len(next(table.chunks(path, row_type, table.LARGE + 1))) > table.LARGE


def made(path: Path, row_type: type[Row], said: Said = silent) -> Path:
    """The Parquet folder of a CSV, made where it isn't there yet. Of two who ask at once one makes it."""
    with once(path):
        if not is_made(path):
            with building(folder(path), path) as new:
                write(new, _said(table.chunks(path, row_type), said), row_type)
    return folder(path)


def forget(path: Path) -> None:
    """Remove the folder of a CSV, where there is one."""
    if folder(path).exists():
        shutil.rmtree(folder(path))


def write(into: Path, pieces: "Iterable[pd.DataFrame]", row_type: type[Row]) -> None:
    """Parts with the rows of all pieces, in their order."""
    arrows = (arrow(piece, row_type) for piece in pieces)
    first = next(arrows)
    parts = Parts(into, first.schema, GROUP)
    for each in chain([first], arrows):
        parts.add(each)
    parts.close()


class Parts:
    """part-00000.parquet and so on, of PART rows each, whatever the size of the pieces that come. PART is so many times `group`."""

    def __init__(self, into: Path, schema: "pa.Schema", group: int) -> None:
        self.into, self.schema, self.group = into, schema, group
        self.number = self.rows = 0
        self.writer: pq.ParquetWriter | None = None
        self.waiting = schema.empty_table()

    def add(self, piece: "pa.Table") -> None:
        """Rows that follow; whole row groups are written, the rest waits."""
        import pyarrow as pa

        self.waiting = pa.concat_tables([self.waiting, piece])
        while (ready := min(self.waiting.num_rows // self.group * self.group, PART - self.rows)) > 0:
            self._write(ready)

    def close(self) -> None:
        """Write what waits. A table without rows is one part without any."""
        if self.waiting.num_rows or not (self.number or self.rows):
            self._write(self.waiting.num_rows)
        if self.writer:
            self.writer.close()

    def _write(self, rows: int) -> None:
        import pyarrow.parquet as pq

        if self.writer is None:
            name = self.into / f"part-{self.number:05}.parquet"
            self.writer = pq.ParquetWriter(name, self.schema, compression="lz4")
        self.writer.write_table(self.waiting.slice(0, rows).combine_chunks(), row_group_size=self.group)
        self.waiting, self.rows = self.waiting.slice(rows), self.rows + rows
        if self.rows == PART:
            self.writer.close()
            self.writer, self.rows, self.number = None, 0, self.number + 1


def pieces(made: Path, columns: Sequence[str], size: int = table.CHUNK) -> "Iterator[pd.DataFrame]":
    """These columns of all rows, `size` rows at a time; at least one piece, empty where the table is."""
    import pyarrow.parquet as pq

    for part in files(made):
        with pq.ParquetFile(part) as opened:
            for batch in opened.iter_batches(size, columns=list(columns)):
                yield batch.to_pandas()
            if not opened.metadata.num_rows:
                yield opened.read(columns=list(columns)).to_pandas()


def take(made: Path, places: Sequence[int], columns: Sequence[str]) -> "pd.DataFrame":
    """These rows, in the order given; the index says which."""
    import pandas as pd
    import pyarrow as pa

    wanted: dict[int, list[int]] = defaultdict(list)
    for place in places:
        wanted[place // PART].append(place)
    parts = files(made)
    found = [_taken(_part(parts[part], os.stat(parts[part]).st_mtime_ns), here, columns) for part, here in (wanted or {0: []}).items()]
    order = pd.Index([place for here in wanted.values() for place in here], dtype=int)
    return pa.concat_tables(found).to_pandas().set_axis(order, axis="index").loc[list(places)]


def _taken(part: "pq.ParquetFile", places: list[int], columns: Sequence[str]) -> "pa.Table":
    """Rows of one part, from the row groups that hold them."""
    import pyarrow as pa

    groups = sorted({place % PART // GROUP for place in places})
    start = {group: nth * GROUP for nth, group in enumerate(groups)}
    read = part.read_row_groups(groups, columns=list(columns), use_threads=False)
    return read.take(pa.array([start[place % PART // GROUP] + place % GROUP for place in places], pa.int64()))


@lru_cache(maxsize=256)
def _part(file: str, changed: int) -> "pq.ParquetFile":
    """A part whose footer is read."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(file)


def arrow(piece: "pd.DataFrame", row_type: type[Row]) -> "pa.Table":
    """Rows in a table's schema: text as text, a missing number as null. A foreign table may lack columns."""
    import pyarrow as pa

    kinds: dict[Any, pa.DataType] = {str: pa.string()}
    kinds |= dict.fromkeys((int, int | None), pa.int64()) | dict.fromkeys((float, float | None), pa.float64())
    known = pa.schema([(each.name, kinds[each.type]) for each in fields(row_type) if each.name in piece])
    return pa.Table.from_pandas(piece, known, preserve_index=False).replace_schema_metadata()


def _said(pieces: "Iterator[pd.DataFrame]", said: Said) -> "Iterator[pd.DataFrame]":
    done = 0
    for piece in pieces:
        yield piece
        done += len(piece)
        said(done, "read")


@contextmanager
def once(path: Path) -> Iterator[None]:
    """Nobody else makes something of this file within, in whatever process."""
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def building(final: Path, path: Path) -> Iterator[Path]:
    """A new folder, made of a CSV, that takes its place when all went well, and is gone when not. Within `once`.

    What others left half-made goes too.
    """
    state = _state(path)
    for left in final.parent.glob(f".{final.name}.*"):
        shutil.rmtree(left)
    new = final.with_name(f".{final.name}.{os.getpid()}")
    new.mkdir()
    try:
        yield new
        (new / STATE).write_text(json.dumps(state | {"files": _sizes(new)}), encoding="utf-8")
        if final.exists():
            os.replace(final, final.with_name(f".{final.name}.old"))
        os.replace(new, final)
    finally:
        for left in (new, final.with_name(f".{final.name}.old")):
            shutil.rmtree(left, ignore_errors=True)


def same(made: Path, path: Path) -> bool:
    """Whether a folder was made of the CSV as it stands, and is whole."""
    try:
        noted = json.loads((made / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(noted == _state(path) | {"files": _sizes(made)})


def _state(path: Path) -> dict[str, Any]:
    with table.told(path):
        state = path.stat()
    return {"bytes": state.st_size, "changed": state.st_mtime_ns}


def _sizes(made: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(made.iterdir()) if file.name != STATE}
