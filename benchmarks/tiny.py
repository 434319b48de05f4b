"""An engine of its own for a benchmark: a process in a home of its own, on the tests' tiny model or on another one, with adapters."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core import paths
from core.config import ServeConfig
from core.serve import resident
from tests.conftest import SCHOOLS, write_tiny_base
from tests.pages import tiny_mix

ADAPTERS = 4
"""How many adapters of the project are taken along, where the model isn't the tiny one."""


@contextmanager
def engine(base_model: str | None = None, **fields: Any) -> Iterator[resident.Engine]:
    """Started in a home that is gone afterwards. `base_model`: None is the tiny model, 'bundled' the shipped one with its adapters."""
    with tempfile.TemporaryDirectory(prefix="lyceum-") as folder, home_is(Path(folder)):
        model = base_model or str(write_tiny_base(Path(folder) / "tiny-base"))
        if base_model:
            for each in sorted((paths.PROJECT / "adapters").iterdir())[:ADAPTERS]:
                shutil.copytree(each, paths.adapters() / each.name)
        else:
            tiny_mix.write(Path(folder), Path(model), SCHOOLS)
        try:
            yield resident.start(ServeConfig(base_model=model, **fields))
        finally:
            resident.stop()


@contextmanager
def home_is(folder: Path) -> Iterator[None]:
    """LYCEUM_HOME is this folder for a while, and no key is set."""
    before = {name: os.environ.pop(name, None) for name in ("LYCEUM_HOME", "LYCEUM_API_KEY")}
    os.environ["LYCEUM_HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("LYCEUM_HOME")
        os.environ |= {name: value for name, value in before.items() if value is not None}
