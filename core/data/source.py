"""A source of records: a file or hub dataset, before any column has a meaning.

It is read from front to back, as often as it is needed, and never lies in memory as a whole unless it is small.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

from core.errors import UserError

LARGE_BYTES = 128 * 2**20
"""Sources with more bytes are large."""

Record = dict[str, Any]
Value = Record | str
"""A record, or why it is none."""
Values = Iterator[tuple[int, Value]]
"""Where a record stands (1 is the first), and the record."""


class Records(Protocol):
    """Where each record stands (1 is the first), and its values by column."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[int, Record]]: ...


@dataclass
class Dropped:
    """Records that can't be used for one reason."""

    count: int = 0
    places: list[int] = field(default_factory=list)
    """Where the first three of them stand."""

    def add(self, place: int) -> None:
        """One more."""
        self.count += 1
        if len(self.places) < 3:
            self.places.append(place)


Drops = dict[str, Dropped]
"""By reason."""


@dataclass(frozen=True)
class Table:
    """Records as they stand in the source."""

    columns: list[str]
    records: Records
    place: str
    """What the number counts: 'line' of a text file, or 'row'."""
    dropped: Drops = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What a reader should know of how the source was read."""


@dataclass(frozen=True)
class Opened:
    """A source from its first record on."""

    columns: list[str]
    """Empty where only the records tell."""
    place: str
    values: Values


@dataclass(frozen=True)
class Source:
    """A file or hub dataset that is there."""

    name: str
    """As it was given."""
    opened: Callable[[bool], Opened]
    """True: what can be wrong with the source as a whole is looked for first."""
    size: int
    """Bytes; of what is packed, unpacked."""
    identify: Callable[[], str]
    notes: list[str] = field(default_factory=list)

    @property
    def large(self) -> bool:
        """Whether it is read in passes, and its rows are kept on disk."""
        return self.size > LARGE_BYTES

    @cached_property
    def digest(self) -> str:
        """What tells the content from any other. Of a file all bytes are read for it."""
        return self.identify()

    def table(self, most: int | None = None) -> Table:
        """All records, or the first so many. Of a large source they stay where they are."""
        opened = self.opened(most is None)
        keep = most is not None or not self.large
        held, dropped, count, seen = [], {}, 0, dict.fromkeys(opened.columns)  # type: list[tuple[int, Record]], Drops, int, dict[str, None]
        for place, value in islice(opened.values, most):
            if isinstance(value, str):
                dropped.setdefault(value, Dropped()).add(place)
                continue
            count += 1
            if not opened.columns:
                seen.update(dict.fromkeys(value))
            if keep:
                held.append((place, value))
        if not count and not dropped:
            raise UserError(f"'{self.name}' holds no rows. Give a file with at least one question and answer.")
        return Table(list(seen), held if keep else _Again(self, count), opened.place, dropped, self.notes)


@dataclass(frozen=True)
class _Again:
    """The records of a large source, read anew each time."""

    source: Source
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        return ((place, value) for place, value in self.source.opened(False).values if not isinstance(value, str))
