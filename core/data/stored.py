"""Datasets whose rows lie on disk, in a folder that core/data/importing.py has made, and are looked at there.

`rows.arrow` holds questions and answers, `categories.npy` and `splits.npy` the number of each row's category and split, `about.json` the
rest. The Arrow file is mapped into memory; what was looked at is given back soon, so that reading all of it takes no more than a part.
"""

import fcntl
import json
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.data import mapped
from core.data.columns import Columns
from core.data.groups import Groups, Places
from core.data.read import QA, Dataset, Drop
from core.data.split import SPLITS

BATCH = 4096
"""Rows of the Arrow file that are written and read together."""


@dataclass(frozen=True)
class About:
    """about.json."""

    origin: str
    """Where the source was: a path or a hub id."""
    digest: str
    """Of the source's content."""
    columns: dict[str, Any]
    categories: list[str]
    dropped: dict[str, Any]
    notes: list[str]
    source_hash: str
    text_bytes: int

    @classmethod
    def of(cls, folder: Path) -> "About":
        """What is known of the rows in this folder."""
        return cls(**json.loads((folder / "about.json").read_text(encoding="utf-8")))


class StoredRows(Sequence[QA]):
    """Rows at ascending places of a file, read when they are asked for."""

    def __init__(self, file: "_File", places: "range | Places") -> None:
        self._file = file
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> QA: ...

    @overload
    def __getitem__(self, index: slice) -> "StoredRows": ...

    def __getitem__(self, index: int | slice) -> "QA | StoredRows":
        if isinstance(index, slice):
            return StoredRows(self._file, self._places[index])
        return self._file.row(int(self._places[index]))

    def __iter__(self) -> Iterator[QA]:
        return self._file.scan(self._places)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)  # another machine has not the file

    def at(self, places: Places) -> "StoredRows":
        """Those at these ascending places among them."""
        return StoredRows(self._file, np.asarray(self._places, np.int32)[places])


@dataclass(frozen=True)
class StoredDataset(Dataset):
    """A dataset whose rows lie on disk."""

    rows: StoredRows
    folder: Path = Path()

    @cached_property
    def about(self) -> About:
        """What is known of the rows."""
        return About.of(self.folder)

    @cached_property
    def categories(self) -> list[str]:
        """Categories, in the order of their first rows."""
        return self.about.categories

    @cached_property
    def source_hash(self) -> str:
        """sha256 (16 hex digits) over the rows."""
        return self.about.source_hash

    @cached_property
    def text_bytes(self) -> int:
        """Of all questions and answers."""
        return self.about.text_bytes

    @cached_property
    def groups(self) -> Groups:
        """Places in `rows` by category and split."""
        return Groups(self.categories, *_numbers(self.folder))

    def take(self, places: Places) -> StoredRows:
        """The rows at these ascending places."""
        return self.rows.at(places)


def opened(folder: Path, name: str) -> StoredDataset:
    """The dataset in this folder; `name` as it was given."""
    about = About.of(folder)
    file = _File(folder, about.categories)
    drops = {reason: Drop(drop["count"], tuple(drop["examples"])) for reason, drop in about.dropped.items()}
    return StoredDataset(name, StoredRows(file, range(len(file.codes))), Columns(**about.columns), drops, about.notes, folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within, nobody has this dataset open. Raises BlockingIOError where somebody does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _numbers(folder: Path) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    """Category and split of each row."""
    return np.load(folder / "categories.npy"), np.load(folder / "splits.npy")


class _File:
    """rows.arrow, with the category and split of each row. Its folder is not removed as long as it is open (`alone`)."""

    def __init__(self, folder: Path, categories: Sequence[str]) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self.codes, self._splits = _numbers(folder)
        self._categories = categories
        self._mapped = mapped.opened(folder / "rows.arrow")
        self._reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._mapped.bytes)))

    def row(self, place: int) -> QA:
        """One row."""
        self._mapped.look()
        batch = self._reader.get_batch(place // BATCH)
        return self._qa(place, *(column[place % BATCH].as_py() for column in batch.columns))

    def scan(self, places: range | Places) -> Iterator[QA]:
        """The rows at these ascending places, batch by batch."""
        start = 0
        while start < len(places):
            number = int(places[start]) // BATCH
            here = np.asarray(places[start : start + BATCH])
            here = here[: np.searchsorted(here, (number + 1) * BATCH)]
            batch = self._reader.get_batch(number).take(pa.array(here - number * BATCH))
            texts = [column.to_pylist() for column in batch.columns]
            self._mapped.rest()
            yield from map(self._qa, here.tolist(), *texts)
            start += len(here)

    def _qa(self, place: int, question: str, answer: str) -> QA:
        return QA(question, answer, self._categories[self.codes[place]], SPLITS[self._splits[place]])
