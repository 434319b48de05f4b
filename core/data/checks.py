"""What is wrong with rows before anything trains: questions asked twice, and held-out rows that training has nearly seen.

Two rows are near-duplicates when the word sets of their questions and answers have a Jaccard similarity of at least
`THRESHOLD`. Candidates come from MinHash signatures in bands (Broder 1997, On the resemblance and containment of documents;
Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3), and each is then measured exactly: what is reported
is true; a pair at similarity 0.8 is missed with a chance of 0.2 %, a closer one more rarely.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.data.read import QA
from core.data.split import normalise

THRESHOLD = 0.8
_BANDS, _BAND_ROWS = 16, 5
_BUCKET = 64
"""At most this many candidates of one band are looked at, so a dataset made of one template stays linear."""
_MEASURED = 5
"""So many of a row's most promising candidates are measured exactly."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+")
"""A word; in Chinese and Japanese, a character."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Leak:
    """A held-out row and the row of an earlier split (train, validation, test) that it nearly repeats."""

    row: int
    other: int
    similarity: float


def repeats(rows: Sequence[QA]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Two masks over rows: question stood earlier in the same category; and it had the same answer there."""
    answers: dict[tuple[str, str], set[str]] = {}
    duplicate, copy = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for index, row in enumerate(rows):
        earlier = answers.setdefault((normalise(row.question), row.category), set())
        duplicate[index], copy[index] = bool(earlier), row.answer in earlier
        earlier.add(row.answer)
    return duplicate, copy


def leaks(rows: Sequence[QA], seed: int = 0) -> list[Leak]:
    """Validation rows that nearly repeat a train row, and test rows that nearly repeat a train or validation row."""
    words, starts, vocabulary = _word_ids(rows)
    signatures = _signatures(words, starts, vocabulary, seed)
    splits = np.array([row.split for row in rows])
    found = []
    for split, earlier in (("validation", ("train",)), ("test", ("train", "validation"))):
        held_out, pool = np.flatnonzero(splits == split), np.flatnonzero(np.isin(splits, earlier))
        for row, candidates in _candidates(signatures, held_out, pool, seed):
            agreement = (signatures[candidates] == signatures[row]).mean(axis=1)
            best = candidates[np.argsort(-agreement, kind="stable")[:_MEASURED]]
            similarity, other = max((_jaccard(words, starts, row, int(index)), -int(index)) for index in best)
            if similarity >= THRESHOLD:
                found.append(Leak(row, -other, similarity))
    return found


def _word_ids(rows: Sequence[QA]) -> tuple[Ints, Ints, int]:
    """Each row's set of word ids, one after another; where each row's begin (and the end); the number of words."""
    vocabulary: dict[str, int] = {}
    flat, starts = array("q"), [0]
    for row in rows:
        text = f"{normalise(row.question)} {row.answer.casefold()}"
        for word in dict.fromkeys(_WORD.findall(text) or [text]):  # not a set: its order changes from process to process
            flat.append(vocabulary.setdefault(word, len(vocabulary)))
        starts.append(len(flat))
    return np.frombuffer(flat, np.int64), np.array(starts), len(vocabulary)


def _signatures(words: Ints, starts: Ints, vocabulary: int, seed: int) -> npt.NDArray[np.int32]:
    """[rows, bands * band rows]: the least word of each row under random orders of the vocabulary."""
    generator = np.random.default_rng(seed)
    signatures = np.empty((len(starts) - 1, _BANDS * _BAND_ROWS), np.int32)
    for column in range(signatures.shape[1]):
        order = generator.permutation(vocabulary).astype(np.int32)
        signatures[:, column] = np.minimum.reduceat(order[words], starts[:-1])
    return signatures


def _candidates(signatures: npt.NDArray[np.int32], held_out: Ints, pool: Ints, seed: int) -> Iterator[tuple[int, Ints]]:
    """Each held-out row that shares a band with rows of the pool, and those rows."""
    factors = np.random.default_rng(seed).integers(1, 2**63, _BAND_ROWS, dtype=np.uint64) | np.uint64(1)
    buckets = []
    for first in range(0, signatures.shape[1], _BAND_ROWS):
        keys = (signatures[:, first : first + _BAND_ROWS].astype(np.uint64) * factors).sum(axis=1)
        order = np.argsort(keys[pool], kind="stable")
        ordered = keys[pool][order]
        left, right = np.searchsorted(ordered, keys[held_out]), np.searchsorted(ordered, keys[held_out], "right")
        buckets.append((pool[order], left, np.minimum(right, left + _BUCKET)))
    shared = np.any([right > left for _, left, right in buckets], axis=0)
    for index in np.flatnonzero(shared):
        yield int(held_out[index]), np.unique(np.concatenate([members[left[index] : right[index]] for members, left, right in buckets]))


def _jaccard(words: Ints, starts: Ints, one: int, other: int) -> float:
    a, b = (set(words[starts[row] : starts[row + 1]].tolist()) for row in (one, other))
    return len(a & b) / len(a | b)
