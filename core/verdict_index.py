"""What filters need beside verdicts, worked out once: `marks` (narrow columns, one row a verdict, as Parquet) and the texts to search.

It is made from the Parquet of the verdicts, piece by piece: what is held grows by some 60 bytes a row, and not with the texts. Of a large
table it lies beside it (`verdicts.index/`) and is made once for all who look. Light: pandas, numpy and pyarrow, DuckDB inside.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from core import judging, text_search, word_overlap
from core.judge.answers import Pair
from core.judge.measures import lengths, questions
from core.results import Verdict, duck, parquet
from core.results.parquet import Said, silent

TEXTS = ("question", "reference", "base_prediction", "candidate_prediction")
"""Where a text is searched."""
NAMES = ("run", "judge", "prompt", "base", "candidate", "category", "verdict", "first_verdict", "second_verdict")
COUNTED = ("tokens", "seconds", "cost", "repeat")
MARKS = pa.schema(
    [
        ("place", pa.int64()),  # the row's number in the file
        *((name, pa.string()) for name in (*NAMES, "pair")),  # as in verdicts.csv; an older table's pairs get their ids
        *zip(COUNTED, (pa.int64(), pa.float64(), pa.float64(), pa.int64()), strict=True),
        ("question", pa.int64()),  # an id of category, question and reference by content, the same in all tables
        ("reference", pa.string()),  # GIVEN, or empty where there is none
        ("length", pa.string()),  # a name of judging.LENGTHS
        ("length_difference", pa.int64()),  # core.judge.measures.lengths
        ("base_f1", pa.float64()),  # core.word_overlap
        ("candidate_f1", pa.float64()),
        ("difference", pa.float64()),  # candidate_f1 less base_f1
        ("from_largest", pa.int64()),  # place in the order of the difference, largest first; equal ones as in the file
        ("from_smallest", pa.int64()),
    ]
)
DIFFERENCE = "difference.npy"
"""The column of that name once more: of any few rows at once."""
GIVEN = "(given)"
GROUP = 65_536
"""Rows of marks that are read together."""


def folder(file: Path) -> Path:
    """Where the index of a large verdicts.csv lies."""
    return file.with_suffix(".index")


def is_made(file: Path) -> bool:
    """Whether it is there, of the verdicts as they stand."""
    return parquet.is_made(file) and parquet.same(folder(file), file)


def made(file: Path, said: Said = silent) -> Path:
    """The index of a large table, made where it isn't there yet, as is its Parquet."""
    rows = parquet.made(file, Verdict, said)
    with parquet.once(file):
        if not is_made(file):
            with parquet.building(folder(file), file) as new:
                build(rows, new, said)
    return folder(file)


def ready(file: Path) -> None:
    """Make the index of a table that is large, so that nobody who looks at it has to wait."""
    if parquet.is_large(file, Verdict):
        made(file)


def build(rows: Path, into: Path, said: Said = silent) -> None:
    """Write the marks of these verdicts, DIFFERENCE, and their texts to search. `rows`: their Parquet folder."""
    text_search.build(rows, TEXTS, into)
    shared, nth = _shared(rows, said), _nth(rows)
    np.save(into / DIFFERENCE, shared.candidate_f1 - shared.base_f1)
    marks, start = parquet.Parts(into, MARKS, GROUP), 0
    for piece in parquet.pieces(rows, Verdict.columns()):
        here = slice(start, start + len(piece))
        marks.add(_marks(piece, start, shared[here], nth[here]))
        said(start := here.stop, "noted")
    marks.close()


@dataclass(frozen=True)
class Shared:
    """Of each row: words that either answer shares with the reference, as F1, how many words it has, and the orders by the difference."""

    base_f1: np.ndarray
    candidate_f1: np.ndarray
    base_words: np.ndarray
    candidate_words: np.ndarray
    from_largest: np.ndarray
    from_smallest: np.ndarray

    def __getitem__(self, here: slice) -> "Shared":
        return Shared(*(each[here] for each in vars(self).values()))


def _shared(rows: Path, said: Said) -> Shared:
    found = list(_overlaps(rows, said))
    base_f1, candidate_f1, *words = (np.concatenate(each) for each in zip(*found, strict=True))
    difference = candidate_f1 - base_f1
    orders = (np.argsort(sign * difference, kind="stable") for sign in (-1, 1))
    return Shared(base_f1, candidate_f1, *words, *(_ranks(order) for order in orders))


def _overlaps(rows: Path, said: Said) -> Iterator[tuple[np.ndarray, ...]]:
    done = 0
    for piece in parquet.pieces(rows, ["reference", "base_prediction", "candidate_prediction"]):
        scores, words = word_overlap.f1(piece["reference"], piece["base_prediction"], piece["candidate_prediction"])
        yield *scores, *(each.astype(np.int32) for each in words)
        said(done := done + len(piece), "compared word by word")


def _ranks(order: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(order), dtype=np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    return ranks


def _marks(rows: pd.DataFrame, start: int, shared: Shared, nth: np.ndarray) -> pa.Table:
    columns = {name: rows[name] for name in (*NAMES, *COUNTED)} | {
        "place": np.arange(start, start + len(rows)),
        "pair": _pairs(rows, nth) if len(nth) else rows["pair"],
        "question": _question_ids(rows),
        "reference": np.where(rows["reference"].str.strip() != "", GIVEN, ""),
        "length": judging.length_names(shared.candidate_words, shared.base_words),
        "length_difference": lengths(rows),
        "difference": shared.candidate_f1 - shared.base_f1,
        **{name: getattr(shared, name) for name in ("base_f1", "candidate_f1", "from_largest", "from_smallest")},
    }
    return pa.table({each.name: pa.array(columns[each.name], each.type, from_pandas=True) for each in MARKS}, MARKS)


def _question_ids(rows: pd.DataFrame) -> np.ndarray:
    """[rows] 64 bits of a digest of category, question and reference."""
    _, first, codes = np.unique(questions(rows), return_index=True, return_inverse=True)
    different = rows[["category", "question", "reference"]].iloc[first].itertuples(index=False)
    digests = [hashlib.blake2b(json.dumps(texts).encode(), digest_size=8).digest() for texts in different]
    return np.frombuffer(b"".join(digests), dtype=np.int64)[codes]


def _nth(rows: Path) -> np.ndarray:
    """[rows] how often the same was asked before, where some pair has no id; else nothing."""
    keys = "judge, candidate, category, question, reference, repeat"
    files = {"rows": parquet.files(rows)}
    if not duck.ask("SELECT count(*) FILTER (pair = '') AS n FROM read_parquet($rows)", files)["n"][0].as_py():
        return np.zeros(0, dtype=np.int64)
    nth = f"row_number() OVER (PARTITION BY {keys} ORDER BY place) - 1 AS nth"
    return np.asarray(duck.ask(f"SELECT place, {nth} FROM ({parquet.placed('rows')}) ORDER BY place", files)["nth"])


def _pairs(rows: pd.DataFrame, nth: np.ndarray) -> pd.Series:
    columns = ["base", "candidate", "category", "question", "reference", "base_prediction", "candidate_prediction"]
    made = [Pair(**texts, nth=int(n)).key for texts, n in zip(rows[columns].to_dict("records"), nth, strict=True)]
    return rows["pair"].where(rows["pair"] != "", pd.Series(made, index=rows.index))
