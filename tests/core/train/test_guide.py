"""docs/training.md says what the tables and configs say. On failure the expected rows stand in the message."""

import re

import pytest

from core import paths
from core.config import TrainConfig
from core.models.packed import ARCHITECTURES
from core.presets import PRESETS
from core.train import METHODS


@pytest.fixture(scope="module")
def guide() -> str:
    return (paths.PROJECT / "docs" / "training.md").read_text(encoding="utf-8")


def table(guide: str, first: str) -> list[str]:
    """The rows of the table whose first column is called `first`, without its head."""
    return re.search(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)*)", guide, re.MULTILINE).group(1).splitlines()


def test_methods_are_those_of_the_table(guide: str) -> None:
    rows = [f"| `{name}` | {row.label}: {row.summary} | {row.use_when} | {row.reference} |" for name, row in METHODS.items()]
    assert table(guide, "method") == rows, "\n" + "\n".join(rows)


def test_presets_are_those_of_the_table(guide: str) -> None:
    rows = []
    for name, settings in PRESETS["train"].items():
        said = [f"{field}={','.join(value) if isinstance(value, list) else value}" for field, value in settings.items()]
        rows.append(f"| `{name}` | {'; '.join(said)} |")
    assert table(guide, "preset") == rows, "\n" + "\n".join(rows)


def test_fields_and_model_types_that_it_names_exist(guide: str) -> None:
    fields = set(re.findall(r"--(\w+)", guide)) - {"preset", "num_processes", "nproc_per_node", "multi_gpu", "cpu", "dry", "resume", "help"}
    assert fields <= set(TrainConfig.model_fields) and len(fields) >= 6
    named = re.search(r"row by\s+row: (.*?)\. Others", guide, re.DOTALL).group(1)
    assert re.split(r",\s+", named) == list(ARCHITECTURES), ", ".join(ARCHITECTURES)
