"""A judge run's verdicts, made ready once so that filters and pages of a large table come at once.

Light: pandas, numpy and pyarrow. Texts are searched in lower case, each different text once.
"""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core import judging, word_overlap
from core.judge.measures import JUDGED, questions
from core.results import ALL

ANY = "all"
PAGE = 50
"""Rows of a page."""
TEXTS = ("question", "reference", "base_prediction", "candidate_prediction")
"""Where a text is searched."""
EXACT = ("category", "candidate", "judge", "verdict")
ORDERS = (ANY, "agree", "disagree")
PEOPLE = (ANY, "voted", "agree", "disagree")
SORTS = {"file": None, "largest score difference": -1, "smallest score difference": 1}
SEARCHES_KEPT = 64


@dataclass(frozen=True)
class Filters:
    """Which verdicts to show; 'all' leaves a filter out."""

    category: str = ANY
    candidate: str = ANY
    judge: str = ANY
    verdict: str = ANY
    orders: str = ANY
    """agree or disagree: whether the two orders gave the same word."""
    length: str = ANY
    """A name of judging.LENGTHS: the candidate's answer beside the base's."""
    flag: str = ANY
    """A flag that either answer has; 'any' for one at all."""
    people: str = ANY
    """voted: people said something; agree or disagree: with the judge."""
    theme: str = ANY
    """Words of a theme of rationales."""
    text: str = ""
    """Stands in question, reference or an answer, in whatever case."""
    low: float = -1.0
    high: float = 1.0
    """Bounds of the score difference."""
    sort: str = "file"
    """A key of SORTS."""


class VerdictTable:
    """Verdicts with what filters need beside them.

    `difference` [rows]: F1 of words shared with the reference, candidate less base (core/word_overlap.py).
    `has_references`: whether any row has one, without which the difference says nothing.
    `length` [rows]: names of judging.LENGTHS. `flags` and `themes`: names -> whether each row has it.
    """

    def __init__(self, rows: pd.DataFrame, flags: Mapping[str, np.ndarray], themes: Mapping[str, np.ndarray]) -> None:
        """`rows`: verdicts.csv, made `ready`; of `flags` and `themes` one boolean a row each: see `flagged` and `themed`."""
        self.rows, self.flags, self.themes = rows, dict(flags), dict(themes)
        (self.base_f1, self.candidate_f1), (base, candidate) = word_overlap.f1(
            rows["reference"], rows["base_prediction"], rows["candidate_prediction"]
        )
        self.difference = self.candidate_f1 - self.base_f1
        self.has_references = bool(rows["reference"].str.strip().ne("").any())
        self.length = judging.length_names(candidate, base)
        self.values = {column: list(dict.fromkeys(rows[column])) for column in EXACT}
        self._texts = [_lower(rows[column]) for column in TEXTS]
        self.containing = lru_cache(maxsize=SEARCHES_KEPT)(self._containing)

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, filters: Filters, people: "pd.Series[str] | None" = None) -> np.ndarray:
        """Numbers of the rows that pass every filter, in the order asked for. `people`: judging.people."""
        keep = np.ones(len(self.rows), dtype=bool)
        for column in EXACT:
            if (wanted := getattr(filters, column)) != ANY:
                keep &= (self.rows[column] == wanted).to_numpy(dtype=bool)
        if filters.orders != ANY:
            same = (self.rows["first_verdict"] == self.rows["second_verdict"]).to_numpy(dtype=bool)
            keep &= same == (filters.orders == "agree")
        if filters.length != ANY:
            keep &= (self.length == filters.length).to_numpy(dtype=bool)
        if filters.flag != ANY:
            keep &= self._has(self.flags, filters.flag)
        if filters.theme != ANY:
            keep &= self._has(self.themes, filters.theme)
        if filters.people != ANY:
            keep &= self._said(filters.people, people)
        if (filters.low, filters.high) != (-1.0, 1.0):
            keep &= (self.difference >= filters.low) & (self.difference <= filters.high)
        if filters.text.strip():
            keep &= self.containing(filters.text.strip().lower())
        return self._sorted(np.flatnonzero(keep), SORTS[filters.sort])

    def page(self, found: np.ndarray, number: int) -> pd.DataFrame:
        """Page `number`, from 1, of the rows found, with `score_difference`; its index is the row's number in the file."""
        chosen = found[(number - 1) * PAGE : number * PAGE]
        return self.rows.iloc[chosen].set_axis(chosen, axis="index").assign(score_difference=self.difference[chosen])

    def pages(self, found: np.ndarray) -> int:
        """How many pages they fill; one for none."""
        return max(1, -(-len(found) // PAGE))

    def extremes(self, among: np.ndarray, most: int = 3) -> tuple[np.ndarray, np.ndarray]:
        """Best and worst cases by rule: wins (losses) in both orders with the largest (smallest) score difference. Row numbers."""
        sure = (self.rows["first_verdict"] == self.rows["second_verdict"]).to_numpy(dtype=bool)[among]
        verdict = self.rows["verdict"].to_numpy()[among]
        best = self._sorted(among[sure & (verdict == "fine-tuned")], -1)[:most]
        return best, self._sorted(among[sure & (verdict == "base")], 1)[:most]

    def sliced(self, by: str, judge: str = ANY) -> tuple[pd.DataFrame, float]:
        """judging.slices by a column, length, flag or theme, and the win rate of the whole; of one judge or of all. Flags may overlap."""
        mine = self.where(Filters(judge=judge))
        rows = self.rows.iloc[mine]
        whole = float(judging.slices(rows, pd.Series(ALL, index=rows.index))["win_rate"].iloc[0]) if len(rows) else float("nan")
        named = {"flag": self.flags, "theme": self.themes}.get(by)
        if named is None:
            names = self.length.iloc[mine] if by == "length" else rows[by]
            found = judging.slices(rows, names.astype(str))
            return (found if by != "length" else _in_order(found, list(judging.LENGTHS))), whole
        parts = [judging.slices(part := rows[having[mine]], pd.Series(name, index=part.index)) for name, having in named.items()]
        return pd.concat(parts, ignore_index=True) if parts else judging.slices(rows.iloc[:0], rows["judge"].iloc[:0]), whole

    def _sorted(self, found: np.ndarray, sign: int | None) -> np.ndarray:
        return found if sign is None else found[np.argsort(sign * self.difference[found], kind="stable")]

    def _has(self, named: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        none = np.zeros(len(self.rows), dtype=bool)
        return np.any([none, *named.values()], axis=0) if name == "any" else named.get(name, none)

    def _said(self, wanted: str, people: "pd.Series[str] | None") -> np.ndarray:
        said = self.rows["pair"].map(people if people is not None else {}).to_numpy(dtype=object)
        judged = self.rows["verdict"].isin(JUDGED).to_numpy(dtype=bool) & ~pd.isna(said)
        if wanted == "voted":
            return np.asarray(~pd.isna(said))
        return np.asarray(judged & ((said == self.rows["verdict"].to_numpy(dtype=object)) == (wanted == "agree")))

    def _containing(self, text: str) -> np.ndarray:
        """Whether a text stands in each row, in any of TEXTS. [rows]"""
        with ThreadPoolExecutor(len(self._texts)) as pool:
            return np.asarray(np.any(list(pool.map(lambda column: _matches(column, text), self._texts)), axis=0))


def flagged(rows: pd.DataFrame, flags: pd.DataFrame) -> dict[str, np.ndarray]:
    """Flag -> whether either answer of each row has it. `flags`: flags.csv of the evaluation that the answers come from."""
    keys = ["category", "question"]
    found = {}
    for name in dict.fromkeys(flags["flag"]):
        part = flags[flags["flag"] == name]
        having = pd.MultiIndex.from_frame(part[["model", *keys]])
        sides = [pd.MultiIndex.from_frame(rows[[side, *keys]]).isin(having) for side in ("base", "candidate")]
        found[str(name)] = np.asarray(sides[0] | sides[1])
    return found


def themed(rows: pd.DataFrame, themes: pd.DataFrame) -> dict[str, np.ndarray]:
    """Words of a theme -> whether each row's rationale belongs to it. `themes`: themes.csv."""
    found = {}
    for words in dict.fromkeys(themes["words"]):
        part = pd.MultiIndex.from_frame(themes.loc[themes["words"] == words, ["judge", "pair"]])
        found[str(words)] = np.asarray(pd.MultiIndex.from_frame(rows[["judge", "pair"]]).isin(part))
    return found


def ready(rows: pd.DataFrame) -> pd.DataFrame:
    """Verdicts in which every row has the id of its pair, which older tables have not, and each column lies in one piece of memory."""
    whole = pa.Table.from_pandas(rows, preserve_index=False).combine_chunks().to_pandas()
    return whole if whole["pair"].ne("").all() else _with_pairs(whole)


def sample(rows: pd.DataFrame, most: int, seed: int = 0) -> pd.DataFrame:
    """All rows of questions drawn by chance, about `most` rows in all; the whole table where it has no more."""
    if len(rows) <= most:
        return rows
    asked = questions(rows)
    drawn = np.random.default_rng(seed).permutation(asked.max() + 1)
    return rows[drawn[asked] < most / len(rows) * len(drawn)]


def _with_pairs(rows: pd.DataFrame) -> pd.DataFrame:
    from core.judge.answers import Pair

    keys = ["judge", "candidate", "category", "question", "reference"]
    nth = rows.groupby([*keys, "repeat"], sort=False).cumcount()
    columns = ["base", "candidate", "category", "question", "reference", "base_prediction", "candidate_prediction"]
    made = [Pair(**texts, nth=int(n)).key for texts, n in zip(rows[columns].to_dict("records"), nth, strict=True)]
    return rows.assign(pair=rows["pair"].where(rows["pair"] != "", pd.Series(made, index=rows.index)))


def _in_order(found: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return found.sort_values("slice", key=lambda column: column.map(names.index), ignore_index=True)


def _lower(column: pd.Series) -> pa.DictionaryArray:
    texts = pa.array(column, type=pa.large_string())
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return pc.utf8_lower(texts).dictionary_encode()


def _matches(column: pa.DictionaryArray, text: str) -> np.ndarray:
    found = pc.match_substring_regex(column.dictionary, re.escape(text)).to_numpy(zero_copy_only=False)
    return np.asarray(found[column.indices.to_numpy()]) if len(found) else np.zeros(len(column), dtype=bool)
