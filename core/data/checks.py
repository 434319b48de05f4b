"""What is wrong with rows before anything trains: questions asked twice, and held-out rows that training has nearly seen.

Two rows are near-duplicates when the word sets of their questions and answers have a Jaccard similarity of at least
`THRESHOLD`. Candidates come from MinHash signatures (core/data/minhash.py), and each is then measured exactly: what is reported
is true; a pair at similarity 0.8 is missed with a chance of 0.2 %, a closer one more rarely.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import overload

import numpy as np
import numpy.typing as npt

from core.data.minhash import Fingerprints, Ints
from core.data.read import QA
from core.data.split import SPLITS, normalise

THRESHOLD = 0.8
_PROMISING = 0.5
"""Candidates that agree in fewer of 80 hashes are passed over: a pair at similarity 0.8 does with a chance below one in a hundred million."""
_MEASURED = 5
"""So many of a row's most promising candidates are measured exactly."""

_TOLD_EVERY = 10_000
"""Rows between two words of progress."""

Mask = npt.NDArray[np.bool_]
Progress = Callable[[int, int, str], None]
"""Told how many rows of how many are done, and of what."""


@dataclass(frozen=True)
class Leak:
    """A held-out row and the row of an earlier split (train, validation, test) that it nearly repeats."""

    row: int
    other: int
    similarity: float


@dataclass(frozen=True)
class Leaks(Sequence[Leak]):
    """Leaks as three arrays."""

    rows: Ints
    others: Ints
    similarities: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Leak: ...

    @overload
    def __getitem__(self, index: slice) -> "Leaks": ...

    def __getitem__(self, index: int | slice) -> "Leak | Leaks":
        if isinstance(index, slice):
            return Leaks(self.rows[index], self.others[index], self.similarities[index])
        return Leak(int(self.rows[index]), int(self.others[index]), float(self.similarities[index]))


def repeats(rows: Sequence[QA]) -> tuple[Mask, Mask]:
    """Two masks over rows: question stood earlier in the same category; and it had the same answer there."""
    asked, answered = bytearray(), bytearray()
    for row in rows:
        asked += _hash(f"{normalise(row.question)}\0{row.category}", 16)
        answered += _hash(row.answer, 8)
    questions, answers = np.frombuffer(asked, np.uint64).reshape(-1, 2).T, np.frombuffer(answered, np.uint64)
    return _stood_earlier(*questions), _stood_earlier(answers, *questions)


def leaks(rows: Sequence[QA], progress: Progress = lambda done, total, what: None, seed: int = 0) -> Leaks:
    """Validation rows that nearly repeat a train row, and test rows that nearly repeat a train or validation row.

    `progress` hears of the rows whose words are read, then of the held-out rows that are compared.
    """
    found, others, similarities = array("q"), array("q"), array("d")
    for row, other, similarity in _leaks(Fingerprints(_told(rows, progress), seed), progress) if rows else ():
        found.append(row)
        others.append(other)
        similarities.append(similarity)
    return Leaks(np.array(found, np.int64), np.array(others, np.int64), np.array(similarities, np.float64))


def _told(rows: Sequence[QA], progress: Progress) -> Iterator[QA]:
    for number, row in enumerate(rows):
        if number % _TOLD_EVERY == 0:
            progress(number, len(rows), "looking for leaks: reading")
        yield row


def _leaks(prints: Fingerprints, progress: Progress) -> Iterator[tuple[int, int, float]]:
    """Row, other and similarity of each leak."""
    done, total = 0, int(np.count_nonzero(prints.splits))
    for split in range(1, len(SPLITS)):
        held_out, pool = np.flatnonzero(prints.splits == split), np.flatnonzero(prints.splits < split)
        for own, other, agreement in prints.candidates(held_out, pool):
            progress(done + int(np.searchsorted(held_out, own[0])), total, "looking for leaks: comparing")
            yield from _measured(prints, own, other, agreement)
        done += len(held_out)


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _stood_earlier(*keys: npt.NDArray[np.uint64]) -> Mask:
    """Rows whose keys an earlier row had, too."""
    found = np.zeros(len(keys[0]), bool)
    order = np.lexsort(keys)  # rows with the same keys stay in order
    same = np.ones(max(len(order) - 1, 0), bool)
    for key in keys:
        ordered = key[order]
        same &= ordered[1:] == ordered[:-1]
    found[order[1:]] = same
    return found


def _measured(prints: Fingerprints, own: Ints, other: Ints, agreement: npt.NDArray[np.float32]) -> Iterator[tuple[int, int, float]]:
    """The leaks among candidate pairs, which come row by row."""
    promising = np.flatnonzero(agreement >= _PROMISING)
    promising = promising[np.lexsort((other[promising], -agreement[promising], own[promising]))]
    pairs = zip(own[promising].tolist(), other[promising].tolist(), strict=True)
    for row, candidates in groupby(pairs, key=itemgetter(0)):
        similarity, nearest = max((prints.jaccard(row, each), -each) for _, each in islice(candidates, _MEASURED))
        if similarity >= THRESHOLD:
            yield row, -nearest, similarity
