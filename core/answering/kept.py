"""Units of work that are done, each in a file of its own that appears whole: what a broken-off run does not do again."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Kept:
    """A folder of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, key: str) -> bool:
        return self._file(key).exists()

    def add(self, key: str, said: Mapping[str, Any]) -> None:
        """Write a unit down."""
        temporary = self.folder / f".{key}.{os.getpid()}"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(said, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._file(key))

    def read(self, key: str) -> dict[str, Any]:
        """What a unit says."""
        found: dict[str, Any] = json.loads(self._file(key).read_text(encoding="utf-8"))
        return found

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"
