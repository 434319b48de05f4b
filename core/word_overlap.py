"""How many words of a reference an answer shares, for a whole table at once.

F1 = 2 shared / (words of reference + words of answer), words counted as often as they stand, lower case, punctuation at their ends
aside (Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250, without dropping articles). Light: numpy and pyarrow.
"""

import string

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

PUNCTUATION = string.punctuation + "“”‘’«»…–—"


def f1(references: pd.Series, *answers: pd.Series) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """[rows] texts -> for each column of answers its F1 with the references, and its number of words. Two empty texts share all: 1."""
    rows = len(references)
    columns = _words([references, *answers])
    numbers = [np.bincount(where, minlength=rows) for where, _ in columns]
    unit = int(max((codes.max(initial=0) for _, codes in columns), default=0)) + 1
    (reference, times), *others = [np.unique(where * unit + codes, return_counts=True) for where, codes in columns]
    scores = []
    for (keys, often), number in zip(others, numbers[1:], strict=True):
        _, here, there = np.intersect1d(reference, keys, assume_unique=True, return_indices=True)
        shared = np.bincount(reference[here] // unit, np.minimum(times[here], often[there]), minlength=rows)
        total = numbers[0] + number
        scores.append(np.divide(2 * shared, total, out=np.ones(rows), where=total > 0))
    return scores, numbers[1:]


def _words(columns: list[pd.Series]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each column's words: the row that each stands in, and its number, the same for the same word in all columns."""
    split = [pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.utf8_lower(_array(column)))) for column in columns]
    flat = pa.concat_arrays([each.flatten() for each in split]).dictionary_encode()
    bare = pc.utf8_trim(flat.dictionary, PUNCTUATION)
    kept = pc.if_else(pc.equal(bare, ""), flat.dictionary, bare).dictionary_encode().indices.to_numpy()
    codes = kept.astype(np.int64)[flat.indices.to_numpy()]
    found, begin = [], 0
    for each in split:
        lengths = pc.list_value_length(each).to_numpy()
        mine = codes[begin : begin + int(lengths.sum())]
        begin += len(mine)
        where = np.repeat(np.arange(len(each), dtype=np.int64), lengths)
        written = mine != _blank(flat.dictionary, kept)
        found.append((where[written], mine[written]))
    return found


def _blank(dictionary: pa.Array, kept: np.ndarray) -> int:
    """The number of the empty word, which an empty text is split into; -1 where there is none."""
    place = pc.index(dictionary, "").as_py()
    return int(kept[place]) if place >= 0 else -1


def _array(column: pd.Series) -> pa.Array:
    array = pa.array(column, type=pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
