"""A dataset: rows of question, answer and category, each in its split; what was dropped is counted with its reason."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from core import paths
from core.config import DataConfig
from core.data import columns, formats
from core.data.split import SHARES, SPLITS, Split, split_of
from core.errors import UserError
from core.results import ALL, GENERAL
from core.wording import listed

RESERVED = (ALL, GENERAL, "each", "pooled")
"""Words that stand for something else where a category is named."""


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
    rows: list[QA]
    columns: columns.Columns
    dropped: dict[str, Drop] = field(default_factory=dict)
    """By reason."""
    notes: list[str] = field(default_factory=list)
    """How the source was read, for the person."""

    @cached_property
    def categories(self) -> list[str]:
        """Categories, in the order of their first rows."""
        return list(dict.fromkeys(row.category for row in self.rows))

    @cached_property
    def source_hash(self) -> str:
        """sha256 (16 hex digits) over the rows: the same rows have the same hash in any format."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(f"{row.question}\0{row.answer}\0{row.category}\0".encode())
        return digest.hexdigest()[:16]

    @cached_property
    def groups(self) -> dict[tuple[str, str], list[int]]:
        """Places in `rows` by category and split, in file order; category '(all)' and split '' stand for all of them."""
        groups: dict[tuple[str, str], list[int]] = {
            (category, split): [] for category in (ALL, *self.categories) for split in ("", *SPLITS)
        }
        for place, row in enumerate(self.rows):
            for category in (ALL, row.category):
                groups[category, ""].append(place)
                groups[category, row.split].append(place)
        return groups

    def strangers(self, trained_on: Mapping[str, Sequence[str]]) -> list[str]:
        """A sentence on adapters, by name, none of whose categories this dataset has."""
        names = [name for name, categories in trained_on.items() if categories and not set(categories) & set(self.categories)]
        if not names:
            return []
        return [f"{listed(names)} trained on categories that '{self.name}' does not have. Is it the dataset that you mean?"]

    def select(self, split: str, categories: Sequence[str] | None = None, limit: int | None = None) -> list[QA]:
        """Rows of a split in file order, of all or some categories; `limit`: the first n of each category."""
        places: list[int] = []
        for category in self.categories if categories is None else dict.fromkeys(categories):
            if (category, split) not in self.groups:
                raise UserError(f"'{self.name}' has no category '{category}'. Choose from: {', '.join(self.categories)[:400]}.")
            places += self.groups[category, split][:limit]
        return [self.rows[place] for place in sorted(places)]

    def empty_reason(self, category: str, split: str) -> str:
        """Why a category has no rows in a split; empty when it has some."""
        if self.groups[category, split]:
            return ""
        rows = len(self.groups[category, ""])
        have = "its 1 row falls elsewhere" if rows == 1 else f"none of its {rows:,} rows falls here"
        return f"{have}: each question has a chance of {SHARES[split]:.0%} for {split}; add rows"


def read(config: DataConfig) -> Dataset:
    """Read `config.data`; a UserError says what is wrong with it in one sentence."""
    table = formats.load(config.data)
    chosen = columns.choose(table.columns, config)
    dropped = defaultdict(list, table.dropped)
    rows = []
    for place, record in table.records:
        try:
            question, answer, category = columns.question_answer_category(record, chosen)
        except columns.Unusable as reason:
            dropped[str(reason)].append(place)
        else:
            rows.append(QA(question, answer, category, split_of(question)))
    drops = {reason: Drop(len(places), tuple(f"{table.place} {n}" for n in places[:3])) for reason, places in dropped.items()}
    if not rows:
        reasons = "; ".join(f"{reason} ({drop.count}: {drop})" for reason, drop in drops.items())
        raise UserError(f"No row of '{config.data}' can be used: {reasons}. Columns read: {chosen}. Choose others if these are wrong.")
    dataset = Dataset(config.data, rows, chosen, drops, table.notes)
    _check_categories(dataset)
    return dataset


def _check_categories(dataset: Dataset) -> None:
    """Each category names an adapter folder, so no two may give the same name."""
    by_slug: dict[str, str] = {}
    for category in dataset.categories:
        if category in RESERVED:
            raise UserError(f"'{dataset.name}' has a category '{category}', a word that means something else here. Rename it.")
        other = by_slug.setdefault(paths.slug(category), category)
        if other != category:
            shared = paths.slug(category)
            raise UserError(
                f"The categories '{other}' and '{category}' of '{dataset.name}' would share the folder name '{shared}'. Rename one."
            )
