"""Arrays that lie in files: written from front to back, mapped into memory to be read, and given back when they have been."""

import mmap
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from core import paths


_LOOKS = 1000
"""Looks at single places before the memory is given back: each brings some 64 kB in."""


class Mapped:
    """A file in memory, of which only what is looked at takes any. Its descriptor may be closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._looks = 0

    def array(self, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        """All of it as numbers."""
        return np.frombuffer(self.bytes, kind)

    def look(self) -> None:
        """To be said before each look at a single place."""
        self._looks += 1
        if self._looks % _LOOKS == 0:
            self.rest()

    def rest(self) -> None:
        """Give back the memory of what was looked at; it is read again when it is looked at again."""
        self.bytes.madvise(mmap.MADV_DONTNEED)


def opened(path: Path) -> Mapped:
    """A file that is there."""
    with path.open("rb") as file:
        return Mapped(file)


class Spill:
    """Numbers that would take too much memory, in a file without a name: it is gone with the process, however that ends."""

    def __init__(self, kind: npt.DTypeLike) -> None:
        self._kind = np.dtype(kind)
        paths.cache().mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=paths.cache())  # noqa: SIM115 - it lives as long as this

    def append(self, numbers: npt.NDArray[Any]) -> None:
        """Write these next."""
        self._file.write(np.ascontiguousarray(numbers, self._kind).data)

    def mapped(self) -> tuple[Mapped, npt.NDArray[Any]]:
        """All that was written, at least one number."""
        self._file.flush()
        found = Mapped(self._file)
        return found, found.array(self._kind)
