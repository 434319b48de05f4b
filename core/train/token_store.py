"""The token ids of a large dataset's rows: made once, kept beside the rows, and mapped into memory by whoever trains.

`ids.<kind>` holds prompt and answer of each row, one after another; `lengths.npy` [rows, 2] the tokens of both; `cut.npy` which were cut.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from core.data import mapped
from core.data.groups import Places
from core.data.prompt import Encoded, Prompter
from core.data.read import QA, Dataset, Progress
from core.errors import explained
from core.models.bundled import locked

_FORMAT = "1"
_CHUNK = 1000
SPLITS = ("train", "validation")


class TokenRows(Sequence[Encoded]):
    """Rows of a store, read when they are asked for. Sent to another machine they take their tokens along."""

    def __init__(self, store: "Tokens", places: Places) -> None:
        self._store = store
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...

    @overload
    def __getitem__(self, index: slice) -> "TokenRows": ...

    def __getitem__(self, index: int | slice) -> "Encoded | TokenRows":
        if isinstance(index, slice):
            return TokenRows(self._store, self._places[index])
        return self._store.row(int(self._places[index]))

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """[rows, 2]: tokens of prompt and answer."""
        return self._store.lengths[self._places]

    def __reduce__(self) -> tuple[Any, ...]:
        return _rows_of, self._store.taken(self._places)


def _rows_of(ids: npt.NDArray[Any], both: npt.NDArray[np.int32], cut: npt.NDArray[np.bool_]) -> TokenRows:
    """Rows whose tokens lie in memory."""
    return TokenRows(Tokens(ids, both, cut), np.arange(len(both), dtype=np.int32))


def lengths(rows: Sequence[Encoded]) -> npt.NDArray[np.int32]:
    """[rows, 2]: tokens of prompt and answer."""
    if isinstance(rows, TokenRows):
        return rows.lengths
    return np.array([(len(row.prompt), len(row.answer)) for row in rows], np.int32).reshape(-1, 2)


class Tokens:
    """Token ids of rows, one after another."""

    def __init__(self, ids: npt.NDArray[Any], both: npt.NDArray[np.int32], cut: npt.NDArray[np.bool_]) -> None:
        """`ids`: prompt and answer of each row; `both` [rows, 2]: the tokens of each; `cut` [rows]: which were cut."""
        self.lengths = both
        self._ids, self._cut = ids, cut
        self._ends = np.cumsum(both.sum(axis=1, dtype=np.int64))

    def row(self, place: int) -> Encoded:
        """One row, by its place."""
        prompt, answer = self.lengths[place].tolist()
        end = int(self._ends[place])
        ids = self._ids[end - prompt - answer : end].tolist()
        return Encoded(ids[:prompt], ids[prompt:], bool(self._cut[place]))

    def taken(self, places: Places) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """A copy of some rows: what another `Tokens` is made of."""
        both = self.lengths[places]
        begins = self._ends[places] - both.sum(axis=1)
        parts = [self._ids[begin:end] for begin, end in zip(begins, self._ends[places], strict=True)]
        return np.concatenate([self._ids[:0], *parts]), both, self._cut[places]


class TokenStore(Tokens):
    """The train and validation rows of some categories of a dataset, mapped from disk."""

    def __init__(self, folder: Path, dataset: Dataset, places: Places) -> None:
        """`places`: of the rows in the dataset, ascending."""
        self._dataset = dataset
        self._places = places
        [file] = folder.glob("ids.*")
        self._mapped = mapped.opened(file)
        super().__init__(self._mapped.array(file.suffix[1:]), np.load(folder / "lengths.npy"), np.load(folder / "cut.npy"))

    def row(self, place: int) -> Encoded:
        """One row, by its place in the store."""
        self._mapped.look()
        return super().row(place)

    def rows(self, split: str, categories: Sequence[str]) -> tuple[TokenRows, Sequence[QA]]:
        """The rows that have an answer token, and their texts."""
        wanted = self._dataset.places(split, categories)
        found = np.searchsorted(self._places, wanted).astype(np.int32)
        kept = self.lengths[found, 1] > 0
        return TokenRows(self, found[kept]), self._dataset.take(wanted[kept])


def opened(dataset: Dataset, categories: Sequence[str], prompter: Prompter, progress: Progress) -> TokenStore:
    """The store of these categories; made first, by one process while others wait, when nobody has asked for these prompts before."""
    assert dataset.folder is not None
    decides = [_FORMAT, prompter.identity, *sorted(categories)]
    folder = dataset.folder / "tokens" / hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]
    places = np.sort(np.concatenate([dataset.places(split, categories) for split in SPLITS]))
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock")):
            if not folder.exists():
                _make(folder, dataset.take(places), prompter, progress)
    return TokenStore(folder, dataset, places)


def _make(folder: Path, rows: Sequence[QA], prompter: Prompter, progress: Progress) -> None:
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        _write(unfinished, rows, prompter, progress)
        os.replace(unfinished, folder)
    except OSError as error:
        error.filename = error.filename or str(folder.parent)
        raise explained(error) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(folder: Path, rows: Sequence[QA], prompter: Prompter, progress: Progress) -> None:
    kind = np.dtype(np.uint16 if len(prompter.tokenizer) <= 2**16 else np.uint32)
    found, cut, done = np.empty((len(rows), 2), np.int32), np.empty(len(rows), bool), 0
    remaining = iter(rows)
    with (folder / f"ids.{kind.name}").open("wb") as file:
        while chunk := list(islice(remaining, _CHUNK)):
            encoded = prompter.encode_all([(row.question, row.answer, row.category) for row in chunk])
            np.array([token for each in encoded for token in (*each.prompt, *each.answer)], kind).tofile(file)
            found[done : done + len(chunk)] = lengths(encoded)
            cut[done : done + len(chunk)] = [each.cut for each in encoded]
            done += len(chunk)
            progress(done, len(rows))
    np.save(folder / "lengths.npy", found)
    np.save(folder / "cut.npy", cut)
