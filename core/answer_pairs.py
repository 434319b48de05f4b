"""One candidate's answers beside the baseline's, filtered, sorted and turned page by page by DuckDB: their texts are not held.

A pair's number is its place in `queries.paired`, from 0. What is held of a pair is some 60 bytes; texts are looked for in the rows of
the models that are compared, and looked up for one page. Values of filters are bound, never part of the SQL. Light: pandas, numpy and
pyarrow, DuckDB inside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from core import evaluated, queries
from core.queries import Evaluation
from core.results import duck
from core.results.found import PAGE, Found

ANY, NONE = "all", "none"
SORTS = {"file": "place", "largest gain": "from_largest", "smallest gain": "from_smallest"}
"""What an order is called -> the column of marks that it goes by; equal ones as in the file, those without a gain last."""
TEXTS = ("question", "reference", "prediction")
"""Where a text is searched: in the baseline's rows; of the candidate's only the last, since question and reference are the same."""
FOUND_KEPT = 16


@dataclass(frozen=True)
class Filters:
    """Which pairs to show; 'all' leaves a filter out."""

    category: str = ANY
    flag: str = ANY
    """A flag that the candidate's answer has; 'none': it has none."""
    text: str = ""
    """Stands in question, reference or an answer, in whatever case."""
    sort: str = "file"
    """A key of SORTS."""


class Pairs:
    """The questions that both the baseline and a candidate answered."""

    def __init__(self, found: Evaluation, candidate: str) -> None:
        self._found, self._answers = found, evaluated.answered(found.run)
        pairs = queries.paired(found, candidate)
        self._pairs, gains = pairs, pairs["gain"].to_numpy()
        marks = {"place": np.arange(len(pairs)), "category": pa.array(pairs["category"], pa.string()).dictionary_encode()}
        ranks = {f"from_{name}": _ranks(sign * gains) for name, sign in (("largest", -1), ("smallest", 1))}
        self._marks = pa.table({**marks, **ranks})
        self._flagged = _flagged(found, pairs)
        self.where = lru_cache(maxsize=FOUND_KEPT)(self._where)
        self._containing = lru_cache(maxsize=FOUND_KEPT)(self._with_text)

    def __len__(self) -> int:
        return len(self._pairs)

    def _where(self, filters: Filters) -> Found:
        """The pairs that pass every filter, in the order asked for."""
        found = Found(self, SORTS[filters.sort])
        if filters.category != ANY:
            found.keep("category = $category", category=filters.category)
        if filters.flag == NONE:
            found.keep_places("flag", np.setdiff1d(np.arange(len(self)), self._flagged["pair"]))
        elif filters.flag != ANY:
            found.keep_places("flag", self._flagged["pair"][self._flagged["flag"] == filters.flag])
        if filters.text:
            found.keep_places("text", self._containing(filters.text))
        return found

    def page(self, found: Found, number: int) -> pd.DataFrame:
        """Page `number`, from 1, of the pairs found: queries.told with flags; the index is the pair's number."""
        return self._told(found.places(PAGE, (number - 1) * PAGE))

    def pair(self, number: int) -> pd.Series:
        """One pair, as of `page`."""
        return self._told([number]).iloc[0]

    def ask(self, sql: str, values: Mapping[str, Any] | None = None, tables: Mapping[str, pa.Table] | None = None) -> pd.DataFrame:
        """The answer to a query of `marks`."""
        return duck.ask(sql, values, {**(tables or {}), "marks": self._marks}).to_pandas()

    def _told(self, numbers: list[int]) -> pd.DataFrame:
        return queries.with_flags(self._found, queries.told(self._found, self._pairs.iloc[numbers]))

    def _with_text(self, text: str) -> np.ndarray:
        """Numbers of the pairs that a text stands in."""
        base, ours = (self._pairs[name].to_numpy() for name in ("base_place", "place"))
        having = self._rows_with(text, [self._found.baseline], TEXTS), self._rows_with(text, self._pairs["model"].unique(), TEXTS[-1:])
        return np.flatnonzero(np.isin(base, having[0]) | np.isin(ours, having[1]))

    def _rows_with(self, text: str, models: Sequence[str], names: Sequence[str]) -> pd.Series:
        """Rows of these models' answers that have a text in one of these columns."""
        # Models are bound one by one, so that row groups of others are passed over.
        bound = {f"model_{nth}": model for nth, model in enumerate(models)}
        contains = " OR ".join(f"contains(lower({name}), lower($text))" for name in names)
        of_models = f"model IN ({', '.join(f'${name}' for name in bound)})" if bound else "false"
        return self._answers.ask(f"SELECT place FROM rows WHERE {of_models} AND ({contains})", {**bound, "text": text})["place"]


def _flagged(found: Evaluation, pairs: pd.DataFrame) -> pd.DataFrame:
    """pair, flag: what is odd about each pair's candidate answer."""
    keys = ["model", "category", "question"]
    question = "question" if found.has_texts else evaluated.NUMBER.format("question")
    asked = f"SELECT DISTINCT model, category, {question} AS question, flag FROM rows WHERE list_contains($models, model)"
    flags = found.flags.ask(asked, {"models": pairs["model"].unique().tolist()})
    named = found.answers.loc[pairs["place"], keys].assign(pair=np.arange(len(pairs)))
    return named.merge(flags, on=keys)[["pair", "flag"]]


def _ranks(values: np.ndarray) -> np.ndarray:
    """[pairs] the place of each in the order of these values, least first; equal ones as they stand, missing ones last."""
    ranks = np.empty(len(values), dtype=np.int32)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values), dtype=np.int32)
    return ranks


def flag_counts(found: Evaluation) -> pd.DataFrame:
    """How many answers of each model there are, and how many have each flag: model (the index), answers, and a column a flag."""
    counts = found.flags.ask("SELECT model, flag, count(*) AS number FROM rows GROUP BY model, flag")
    table = counts.pivot_table(index="model", columns="flag", values="number", fill_value=0)
    models = list(found.models["model"])
    answers = found.answers.groupby("model").size().reindex(models)
    return table.reindex(models, fill_value=0).assign(answers=answers)
