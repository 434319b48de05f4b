"""Tables of things that are chosen by a word: methods, strategies, metrics, judge backends."""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import UserError


@dataclass(frozen=True)
class Entry:
    """One row of a table: what it is called, where it lives, and the paper or documentation it follows."""

    label: str
    target: str
    """`module:name`, imported only when the row is used."""
    reference: str
    summary: str = ""
    """What it is, in a sentence."""
    use_when: str = ""
    """When to choose it, in a sentence."""
    fields: tuple[str, ...] = ()
    """Config fields that it uses and not every row of its table does; forms show them with it alone."""

    def load(self) -> Any:
        """Import and return the function or class that the row names."""
        return pkgutil.resolve_name(self.target)


def lookup(table: Mapping[str, Entry], kind: str, name: str) -> Entry:
    """The row called `name`; an unknown name raises a UserError that lists the known ones."""
    if name not in table:
        raise UserError(f"Unknown {kind} '{name}'. Choose one of: {', '.join(table)}.")
    return table[name]
