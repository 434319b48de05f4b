"""A dataset: rows of question, answer and category, each in its split; what was dropped is counted with its reason."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from core import paths
from core.config import DataConfig
from core.data import columns, formats
from core.data.groups import Groups, Places
from core.data.source import Dropped, Table
from core.data.split import SHARES, SPLITS, Split, split_of
from core.errors import UserError
from core.results import ALL, GENERAL
from core.wording import listed

RESERVED = (ALL, GENERAL, "each", "pooled")
"""Words that stand for something else where a category is named."""
Progress = Callable[[int, int], None]
"""Told how many of how many rows are done."""


@dataclass(frozen=True, slots=True)
class QA:
    """One row."""

    question: str
    answer: str
    category: str
    split: Split


@dataclass(frozen=True)
class Drop:
    """Rows that were left out for one reason."""

    count: int
    examples: tuple[str, ...]
    """Where the first of them stand, such as 'line 7'."""

    def __str__(self) -> str:
        return ", ".join(self.examples) + (" ..." if self.count > len(self.examples) else "")


@dataclass(frozen=True)
class Dataset:
    """Rows in file order."""

    name: str
    """As it was given."""
    rows: Sequence[QA]
    columns: columns.Columns
    dropped: dict[str, Drop] = field(default_factory=dict)
    """By reason."""
    notes: list[str] = field(default_factory=list)
    """How the source was read, for the person."""
    folder: Path | None = None
    """Where the rows lie, if not in memory. What is made of them can be kept there: it is gone when they are."""

    @cached_property
    def categories(self) -> list[str]:
        """Categories, in the order of their first rows."""
        return list(dict.fromkeys(row.category for row in self.rows))

    @cached_property
    def source_hash(self) -> str:
        """sha256 (16 hex digits) over the rows: the same rows have the same hash in any format."""
        digest = RowsHash()
        for row in self.rows:
            digest.add(row.question, row.answer, row.category)
        return digest.text

    @cached_property
    def text_bytes(self) -> int:
        """Of all questions and answers."""
        return sum(len(row.question.encode()) + len(row.answer.encode()) for row in self.rows)

    @cached_property
    def groups(self) -> Groups:
        """Places in `rows` by category and split."""
        codes = {category: code for code, category in enumerate(self.categories)}
        splits = {split: code for code, split in enumerate(SPLITS)}
        return Groups(
            self.categories,
            np.array([codes[row.category] for row in self.rows], np.int32),
            np.array([splits[row.split] for row in self.rows], np.int8),
        )

    def take(self, places: Places) -> Sequence[QA]:
        """The rows at these ascending places."""
        return [self.rows[place] for place in places.tolist()]

    def strangers(self, trained_on: Mapping[str, Sequence[str]]) -> list[str]:
        """A sentence on adapters, by name, none of whose categories this dataset has."""
        names = [name for name, categories in trained_on.items() if categories and not set(categories) & set(self.categories)]
        if not names:
            return []
        return [f"{listed(names)} trained on categories that '{self.name}' does not have. Is it the dataset that you mean?"]

    def select(self, split: str, categories: Sequence[str] | None = None, limit: int | None = None) -> Sequence[QA]:
        """Rows of a split in file order, of all or some categories; `limit`: the first n of each category."""
        return self.take(self.places(split, categories, limit))

    def places(self, split: str, categories: Sequence[str] | None = None, limit: int | None = None) -> Places:
        """Where these rows stand."""
        places = [np.zeros(0, np.int32)]
        for category in self.categories if categories is None else dict.fromkeys(categories):
            if (category, split) not in self.groups:
                raise UserError(f"'{self.name}' has no category '{category}'. Choose from: {', '.join(self.categories)[:400]}.")
            places.append(self.groups[category, split][:limit])
        return np.sort(np.concatenate(places))

    def empty_reason(self, category: str, split: str) -> str:
        """Why a category has no rows in a split; empty when it has some."""
        if len(self.groups[category, split]):
            return ""
        rows = len(self.groups[category, ""])
        have = "its 1 row falls elsewhere" if rows == 1 else f"none of its {rows:,} rows falls here"
        return f"{have}: each question has a chance of {SHARES[split]:.0%} for {split}; add rows"


class RowsHash:
    """The hash of rows that come one after another."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, question: str, answer: str, category: str) -> None:
        """The next row."""
        self._digest.update(f"{question}\0{answer}\0{category}\0".encode())

    @property
    def text(self) -> str:
        """16 hex digits."""
        return self._digest.hexdigest()[:16]


def read(config: DataConfig, progress: Progress = lambda done, total: None) -> Dataset:
    """Read `config.data`; a UserError says what is wrong with it in one sentence.

    `progress` hears of the rows of a large source, which are kept on disk when it is read for the first time.
    """
    source = formats.find(config.data)
    if source.large:
        from core.data import importing  # it needs pyarrow

        return importing.read(source, config, progress)
    table = source.table()
    reading = Reading(table, config)
    rows = [QA(question, answer, category, split_of(question)) for question, answer, category in reading]
    reading.refuse_empty(len(rows))
    dataset = Dataset(config.data, rows, reading.columns, reading.drops, table.notes)
    check_categories(dataset.name, dataset.categories)
    return dataset


class Reading:
    """The usable rows of a table, as (question, answer, category), and what becomes of the others."""

    def __init__(self, table: Table, config: DataConfig) -> None:
        self.columns = columns.choose(table.columns, config)
        self._table = table
        self._name = config.data
        self._dropped = dict(table.dropped)

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        for place, record in self._table.records:
            try:
                yield columns.question_answer_category(record, self.columns)
            except columns.Unusable as reason:
                self._dropped.setdefault(str(reason), Dropped()).add(place)

    @property
    def drops(self) -> dict[str, Drop]:
        """What was left out, by reason."""
        place = self._table.place
        return {reason: Drop(each.count, tuple(f"{place} {n}" for n in each.places)) for reason, each in self._dropped.items()}

    def refuse_empty(self, rows: int) -> None:
        """Raise UserError when no row could be used."""
        if not rows:
            reasons = "; ".join(f"{reason} ({drop.count}: {drop})" for reason, drop in self.drops.items())
            raise UserError(
                f"No row of '{self._name}' can be used: {reasons}. Columns read: {self.columns}. Choose others if these are wrong."
            )


def check_categories(name: str, categories: Sequence[str]) -> None:
    """Each category names an adapter folder, so no two may give the same name."""
    by_slug: dict[str, str] = {}
    for category in categories:
        if category in RESERVED:
            raise UserError(f"'{name}' has a category '{category}', a word that means something else here. Rename it.")
        other = by_slug.setdefault(paths.slug(category), category)
        if other != category:
            raise UserError(
                f"The categories '{other}' and '{category}' of '{name}' would share the folder name '{paths.slug(category)}'. Rename one."
            )
