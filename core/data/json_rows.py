"""The values of a JSON list or of JSON lines, one after another, from a file that may be larger than memory.

The standard library decides what is JSON: its decoder goes over a window of the text, so numbers, NaN, repeated keys and errors are
those of `json.loads` on the whole text.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from core.errors import UserError

LONGEST = 1 << 26
"""Characters of one value at most: a quote that is never closed doesn't fill the memory."""
_BLOCK = 1 << 20
_BLANKS = re.compile(r"[ \t\n\r]*")
_NEAR = 16
"""So near to the end of what was read, an error or a number may be those of a value that is cut there."""


def lines(path: Path, encoding: str) -> Iterator[tuple[int, Any]]:
    """The number and the value of each line that isn't blank."""
    with path.open(encoding=encoding, newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, json.loads(line.removesuffix("\n"))
                except (ValueError, RecursionError) as error:
                    cause = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                    raise UserError(f"Line {number} of '{path}' is no JSON: {cause}. Mend or delete that line.") from None


def items(path: Path, encoding: str) -> Iterator[tuple[int, Any]]:
    """The number and the value of each item of a list."""
    with path.open(encoding=encoding, newline="") as file:
        yield from enumerate(_Window(path, file).items(), 1)


def refuse_single(path: Path, encoding: str) -> None:
    """Raise UserError where a text that doesn't begin with a list is one value, or no JSON; not where more lines follow the first value."""
    with path.open(encoding=encoding, newline="") as file:
        text = file.read(LONGEST)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.lineno > 1:
            return
        raise _no_json(path, error) from None
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None
    kind = f"one object (keys: {some(value)})" if isinstance(value, dict) else f"one value ({type(value).__name__})"
    raise UserError(f"'{path}' holds {kind}, not a list of rows. Save the rows as a list: [{{...}}, {{...}}].")


def some(names: Iterable[Any], most: int = 12) -> str:
    """Names for a sentence, not too many and not too long."""
    shown = [f"'{str(name)[:40]}'" for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _no_json(path: Path, error: json.JSONDecodeError, line: int = 1, column: int = 0) -> UserError:
    """`line` and `column`: where the text that the decoder saw begins in the file."""
    column = error.colno + (column if error.lineno == 1 else 0)
    return UserError(f"'{path}' is no JSON: {error.msg} in line {line + error.lineno - 1}, column {column}. Mend it there.")


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"'{path}' can't be read as JSON: {error}. Give a list of objects.")


class _Window:
    """The part of a list's text that is being decoded."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._text, self._at, self._ended = "", 0, False
        self._line, self._column = 1, 0
        """Where the window begins in the file."""
        self._decoder = json.JSONDecoder()

    def items(self) -> Iterator[Any]:
        """The items of the list that the text holds, and nothing else."""
        self._take("[")
        if not self._take("]"):
            yield self._value()
            while not self._take("]"):
                if not self._take(","):
                    raise self._wrong("Expecting ',' delimiter")
                yield self._value()
        if self._next():
            raise self._wrong("Extra data")

    def _take(self, sign: str) -> bool:
        """Go past the sign, if it comes next."""
        there = self._next() == sign
        self._at += there
        return there

    def _next(self) -> str:
        """The next character that is no blank; nothing at the end."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._read_on()

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                if self._ended or end <= len(self._text) - _NEAR:  # else it may be the beginning of a longer number
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                if not self._may_be_cut(error):
                    raise _no_json(self._path, error, self._line, self._column) from None
            except (ValueError, RecursionError) as error:
                raise _unreadable(self._path, error) from None
            self._read_on()

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether the value may go on beyond the window."""
        if self._ended or len(self._text) - self._at > LONGEST:
            return False
        return error.msg.startswith("Unterminated string") or error.pos > len(self._text) - _NEAR

    def _read_on(self) -> None:
        """Forget what lies behind, and read at least as much again as is left."""
        behind, left = self._text[: self._at], self._text[self._at :]
        lines = behind.count("\n")
        self._line += lines
        self._column = len(behind) - behind.rfind("\n") - 1 if lines else self._column + len(behind)
        block = self._file.read(max(_BLOCK, len(left)))
        self._text, self._at, self._ended = left + block, 0, not block

    def _wrong(self, what: str) -> UserError:
        return _no_json(self._path, json.JSONDecodeError(what, self._text, self._at), self._line, self._column)
