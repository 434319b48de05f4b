"""The fields of a foreign record, read strictly: what is not what it should be is told in words, with the record's number."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from core.errors import shown

Read = TypeVar("Read")
_TOO_LARGE = 2.0**63
"""What no column of a table holds."""
_KINDS = {dict: "an object", list: "a list", tuple: "a list"}


class BadRecord(ValueError):
    """What is wrong with a record, as the rest of a sentence that its number begins."""


def each(records: Iterable[dict[str, Any]], read: Callable[[dict[str, Any]], Iterable[Read]], kind: str = "record") -> Iterator[Read]:
    """What `read` makes of every record. Raises BadRecord with the number of the record (from 1) and what is wrong with it."""
    for number, record in enumerate(records, 1):
        try:
            yield from read(record)
        except BadRecord as error:
            raise BadRecord(f"{kind} {number} {error}") from None


def text(record: dict[str, Any], key: str, default: str | None = None) -> str:
    """A text; nothing is the default, or empty. Raises BadRecord where it is a list or an object, or isn't there and has no default."""
    if key not in record and default is None:
        raise BadRecord(f"has no '{key}'")
    value = record.get(key)
    if isinstance(value, dict | list | tuple):
        raise BadRecord(f"has {_KINDS[type(value)]} in '{key}', which has to be a text")
    return str(value) if is_there(value) and value != "" else default or ""


def number(record: dict[str, Any], key: str) -> float | None:
    """A finite number, also as text; None for nothing and NaN. Raises BadRecord for all else."""
    value = record.get(key)
    if not is_there(value) or value == "":
        return None
    found = finite(value)
    if found is None and str(value).strip().lower() != "nan":
        raise BadRecord(f"has {shown(value)!r} in '{key}', which has to be a number")
    if found is not None and abs(found) >= _TOO_LARGE:
        raise BadRecord(f"has {shown(value)!r} in '{key}', which is too large a number")
    return found


def finite(value: Any) -> float | None:
    """A value as a number; None where it is none, or true, false, NaN or endless."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def objects(record: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects; nothing is an empty one. Raises BadRecord for all else."""
    value = record.get(key)
    found = [] if value is None else value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadRecord(f"has {shown(value)} in '{key}', which has to be a list of objects")
    return found


def is_there(value: Any) -> bool:
    """Whether a cell holds anything: neither None nor NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))
