"""Which rows may be near-duplicates: MinHash signatures in bands (Broder 1997, On the resemblance and containment of documents;
Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3), for any number of rows in bounded memory.

A word is its 64-bit hash, and the k-th random order of words is the order of their products with the k-th odd factor, modulo 2^64
(Dietzfelbinger et al. 1997, A reliable randomized algorithm for the closest-pair problem), so no vocabulary is needed. Of each of the 80 least words a byte
is kept (Li and König 2010, b-bit minwise hashing): enough to tell which candidates are promising. What has as many numbers as rows lies
in files without a name.
"""

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from core.data.mapped import Spill
from core.data.read import QA
from core.data.split import SPLITS, normalise

BANDS, BAND_ROWS = 16, 5
_HASHES = BANDS * BAND_ROWS
_CHUNK = 2048
"""Rows whose signatures are made at once."""
_BUCKET = 64
"""At most this many candidates of one band are looked at, so a dataset made of one template stays linear."""
_PAIRS = 1 << 21
"""Candidate pairs that are looked at together."""
_OWN_ROWS = 1 << 16
"""Held-out rows that are looked at together."""
_COMPARED = 1 << 12
"""Signatures compared at once, before the memory of those that were looked at is given back."""
_KNOWN_WORDS = 1 << 19
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+")
"""A word; in Chinese and Japanese, a character."""

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


def words(row: QA) -> Iterable[str]:
    """The different words of a row's question and answer."""
    text = f"{normalise(row.question)} {row.answer.casefold()}"
    return set(_WORD.findall(text)) or {text}


class _WordHashes(dict[str, int]):
    """64-bit hashes of words, the same in every process; a bounded number is remembered."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _KNOWN_WORDS:
            self.clear()
        self[word] = found = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        return found


class Fingerprints:
    """The words of all rows and their signatures, on disk."""

    def __init__(self, rows: Iterable[QA], seed: int = 0) -> None:
        """`rows`: at least one."""
        generator = np.random.default_rng(seed)
        self._orders = generator.integers(0, 2**63, _HASHES, np.uint64) * np.uint64(2) + np.uint64(1)
        self._mixers = generator.integers(0, 2**63, BAND_ROWS, np.uint64) * np.uint64(2) + np.uint64(1)
        spilled = Spill(np.uint64), Spill(np.uint8), [Spill(np.uint64) for _ in range(BANDS)]
        splits, lengths = array("b"), array("i")
        hashes, remaining = _WordHashes(), iter(rows)
        while chunk := list(islice(remaining, _CHUNK)):
            splits.extend(SPLITS.index(row.split) for row in chunk)
            own = [[hashes[word] for word in words(row)] for row in chunk]
            lengths.extend(map(len, own))
            self._add(own, *spilled)
        self.splits = np.frombuffer(splits, np.int8)
        self._ends = np.cumsum(np.frombuffer(lengths, np.int32))
        (self._words_file, self._words), (self._bytes_file, found) = (each.mapped() for each in spilled[:2])
        self._bytes = found.reshape(-1, _HASHES)
        self._bands = spilled[2]

    def _add(self, words: list[list[int]], all_words: Spill, signatures: Spill, bands: list[Spill]) -> None:
        flat = np.array([word for own in words for word in own], np.uint64)
        starts = np.cumsum([0, *map(len, words[:-1])])
        least = np.stack([np.minimum.reduceat(flat * order, starts) for order in self._orders], axis=1)
        all_words.append(flat)
        signatures.append((least >> np.uint64(24)).astype(np.uint8))
        keys = (least.reshape(len(words), BANDS, BAND_ROWS) * self._mixers).sum(axis=2)
        for band, spill in enumerate(bands):
            spill.append(keys[:, band])

    def jaccard(self, one: int, other: int) -> float:
        """The similarity of two rows' sets of words."""
        a, b = self._own(one), self._own(other)
        return len(a & b) / len(a | b)

    def _own(self, row: int) -> set[int]:
        self._words_file.look()
        return set(self._words[self._ends[row - 1] if row else 0 : self._ends[row]].tolist())

    def candidates(self, held_out: Ints, pool: Ints) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.float32]]]:
        """Held-out rows and rows of the pool that share a band with them, and the share of hashes in which each pair agrees.

        The pairs of a row come together, the rows in order.
        """
        if not len(held_out) or not len(pool):
            return
        buckets = _Buckets(self._bands, held_out, pool)
        for first, last in buckets.slabs():
            own, other = buckets.pairs(first, last)
            if len(own):
                agreement = self._agreement(held_out[first:last], own, other)
                yield held_out[first + own], other, agreement

    def _agreement(self, rows: Ints, own: Ints, other: Ints) -> npt.NDArray[np.float32]:
        """Of each pair: rows[own] and other. The others are gone through in the order of the file."""
        signatures = np.concatenate([self._signatures(part) for part in _parts(rows)])
        found = np.empty(len(own), np.float32)
        for part in _parts(np.argsort(other, kind="stable")):
            found[part] = (self._signatures(other[part]) == signatures[own[part]]).mean(axis=1, dtype=np.float32)
        return found

    def _signatures(self, rows: Ints) -> npt.NDArray[np.uint8]:
        found = self._bytes[rows]
        self._bytes_file.rest()
        return found


def _parts(numbers: Ints) -> Iterator[Ints]:
    return (numbers[start : start + _COMPARED] for start in range(0, len(numbers), _COMPARED))


class _Buckets:
    """Rows of a pool, sorted band by band, and where the rows like each held-out row stand among them."""

    def __init__(self, bands: Sequence[Spill], held_out: Ints, pool: Ints) -> None:
        self._left = np.empty((len(bands), len(held_out)), np.int32)
        self._count = np.empty((len(bands), len(held_out)), np.uint8)
        self._members = []
        for band, spill in enumerate(bands):
            file, keys = spill.mapped()
            members, self._left[band], self._count[band] = _like(keys[held_out], keys[pool], pool)
            file.rest()
            self._members.append(Spill(np.int32))
            self._members[-1].append(members)

    def slabs(self) -> Iterator[tuple[int, int]]:
        """Held-out rows from the first up to the last, as many as give no more pairs than are looked at together."""
        ends = np.cumsum(self._count.sum(axis=0, dtype=np.int64))
        first = 0
        while first < len(ends):
            before = ends[first - 1] if first else 0
            last = max(first + 1, min(first + _OWN_ROWS, int(np.searchsorted(ends, before + _PAIRS, "right"))))
            yield first, last
            first = last

    def pairs(self, first: int, last: int) -> tuple[Ints, Ints]:
        """The place of a held-out row, counted from `first`, and a row of the pool; each pair once, in order."""
        found = []
        for left, count, spill in zip(self._left[:, first:last], self._count[:, first:last], self._members, strict=True):
            own = np.repeat(np.arange(last - first), count)
            if len(own):
                places = np.repeat(left - np.cumsum(count, dtype=np.int64) + count, count) + np.arange(len(own))
                file, members = spill.mapped()
                found.append((own << 32) | members[places])
                file.rest()
        both = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
        return both >> 32, both & (2**32 - 1)


def _like(wanted: Hashes, keys: Hashes, pool: Ints) -> tuple[npt.NDArray[np.int32], Ints, Ints]:
    """The pool in the order of its keys, and for each wanted key where the rows with it begin and how many of them count."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    by_key = np.argsort(wanted)  # neighbours are looked for one after the other, which is many times faster
    left, count = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.int64)
    left[by_key] = np.searchsorted(keys, wanted[by_key])
    count[by_key] = np.searchsorted(keys, wanted[by_key], "right")
    return pool[order].astype(np.int32), left, np.minimum(count - left, _BUCKET)
