"""Which rows of a table contain a text, in whatever case: quick for millions, without holding their texts in memory.

Each different text lies once, in lower case, in an Arrow file. Beside it, a bit a text says for each of BUCKETS whether any three bytes
in a row of the text fall into it: a search reads the bits of its own threes, and looks only at the texts that are left (Cox 2012, Regular
expression matching with a trigram index). Light: numpy and pyarrow, DuckDB inside.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.results import duck, parquet

BATCH = 16_384
"""Texts that are looked at together; a multiple of 8."""
BUCKETS = 512
SEARCHES_KEPT = 16
_LONG = 500
"""Characters of a text from which on it makes no regular expression."""
_MANY = 0.7
"""Share of a batch from which on all of it is looked at, which is quicker than taking texts out."""


def build(rows: Path, columns: Sequence[str], into: Path) -> None:
    """texts.arrow, texts.bits and texts.npy, which `Texts` reads. `rows`: the Parquet folder of a table; `columns`: where to search."""
    files = {"rows": parquet.files(rows)}
    every = " UNION ".join(f"SELECT lower({name}) AS text FROM read_parquet($rows)" for name in columns)
    joins = " ".join(f"JOIN texts AS {name} ON {name}.text = lower(v.{name})" for name in columns)
    numbers = ", ".join(f"{name}.rowid::INT AS {name}" for name in columns)
    with duck.connected() as database:
        database.execute(f"CREATE TEMP TABLE texts AS {every}", files)
        _write(_even(database.sql("SELECT text FROM texts ORDER BY rowid").to_arrow_reader(BATCH)), into)
        found = database.sql(
            f"SELECT {numbers} FROM ({parquet.placed('rows')}) AS v {joins} ORDER BY v.place", params=files
        ).to_arrow_table()
        np.save(into / "texts.npy", np.stack([found[name].to_numpy() for name in columns]))
        database.execute("DROP TABLE texts")


class Texts:
    """The texts of a table's rows, ready to be searched."""

    def __init__(self, folder: Path) -> None:
        self.file = str(folder / "texts.arrow")
        with pa.OSFile(self.file) as file:
            self.batches = pa.ipc.open_file(file).num_record_batches
        shape = (self.batches, BUCKETS, BATCH // 8)
        self.bits = np.memmap(folder / "texts.bits", np.uint8, "r", shape=shape) if self.batches else np.zeros(shape, dtype=np.uint8)
        self.numbers = np.load(folder / "texts.npy", mmap_mode="r")
        self.containing = lru_cache(maxsize=SEARCHES_KEPT)(self._containing)

    def _containing(self, text: str) -> np.ndarray:
        """Numbers of the rows that a text stands in, in order."""
        low = str(duck.ask("SELECT lower($text) AS text", {"text": text})["text"][0].as_py())
        shares = [range(start, self.batches, duck.THREADS) for start in range(duck.THREADS)]
        having = np.zeros(self.batches * BATCH, dtype=bool)
        with ThreadPoolExecutor(duck.THREADS) as pool:
            for found in pool.map(lambda share: self._in_batches(share, low), shares):
                having[found] = True
        return np.flatnonzero(np.logical_or.reduce([having[column] for column in self.numbers])).astype(np.int32)

    def _in_batches(self, share: range, text: str) -> np.ndarray:
        """Numbers of the texts of these batches that a text stands in."""
        buckets, found = np.unique(_buckets(np.frombuffer(text.encode(), dtype=np.uint8))), [np.zeros(0, dtype=np.int64)]
        with pa.memory_map(self.file) as file:
            opened = pa.ipc.open_file(file)
            for batch in share:
                left = np.flatnonzero(np.unpackbits(np.bitwise_and.reduce(self.bits[batch, buckets], axis=0))) if len(buckets) else None
                if left is None or len(left):
                    found.append(batch * BATCH + _matching(opened.get_batch(batch).column(0), text, left))
        return np.concatenate(found)


def _matching(texts: pa.Array, text: str, left: np.ndarray | None) -> np.ndarray:
    """Places of the texts that contain a text. `left`: the only ones that may."""
    if left is not None and len(left) > _MANY * len(texts):
        left = None
    looked_at = texts if left is None else texts.take(pa.array(left))
    matched = pc.match_substring if len(text) > _LONG else pc.match_substring_regex  # the latter is several times as quick
    having = matched(looked_at, text if len(text) > _LONG else re.escape(text))
    places = np.flatnonzero(having.to_numpy(zero_copy_only=False))
    return places if left is None else left[places]


def _write(texts: Iterable[pa.RecordBatch], into: Path) -> None:
    schema = pa.schema([("text", pa.large_string())])
    with (
        pa.OSFile(str(into / "texts.arrow"), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
        (into / "texts.bits").open("wb") as bits,
    ):
        for batch in texts:
            column = batch.column(0).cast(pa.large_string())
            writer.write_batch(pa.record_batch([column], schema))
            bits.write(_bits(column).tobytes())


def _even(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of BATCH, but for the last."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        *whole, last = pa.Table.from_batches([*waiting, batch]).combine_chunks().to_batches(BATCH) or [batch]
        full = last.num_rows == BATCH
        yield from [*whole, last] if full else whole
        waiting = [] if full else [last]
    yield from (batch for batch in waiting if batch.num_rows)


def _bits(texts: pa.Array) -> np.ndarray:
    """[BUCKETS, BATCH / 8] a bit a text, set where any three bytes of it fall into the bucket."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, dtype=np.uint8)[ends[0] : ends[-1]] if data else np.zeros(0, dtype=np.uint8)
    owners = np.repeat(np.arange(len(texts), dtype=np.int32), np.diff(ends))
    has = np.zeros((BUCKETS, BATCH), dtype=bool)
    if len(content) > 2:
        whole = owners[:-2] == owners[2:]
        has[_buckets(content)[whole], owners[:-2][whole]] = True
    return np.packbits(has, axis=1)


def _buckets(content: np.ndarray) -> np.ndarray:
    """[bytes - 2] the bucket of each three bytes in a row; none of fewer."""
    wide = content.astype(np.uint32)
    codes = wide[:-2] | wide[1:-1] << 8 | wide[2:] << 16
    return codes * np.uint32(2654435761) >> np.uint32(23)
