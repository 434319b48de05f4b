"""docs/merging.md names fields and measures that exist. Its tables of strategies and routers are made from the code (tests/docs)."""

import re

import pytest

from core import paths
from core.config import MergeConfig, SearchConfig
from core.results import Fidelity


@pytest.fixture(scope="module")
def guide() -> str:
    return (paths.PROJECT / "docs" / "merging.md").read_text(encoding="utf-8")


def rows(guide: str, first: str) -> list[str]:
    return re.search(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)*)", guide, re.MULTILINE).group(1).splitlines()


def test_measures_are_those_of_the_table(guide: str) -> None:
    named = re.findall(r"^\| `(\w+)`", "\n".join(rows(guide, "measure")), re.MULTILINE)
    source = (paths.PROJECT / "core" / "results" / "merging.py").read_text(encoding="utf-8")
    about = source[source.index(f"class {Fidelity.__name__}") : source.index("class Cosine")]
    assert named and all(f"{name}:" in about for name in named)


def test_fields_that_it_names_exist(guide: str) -> None:
    known = {*MergeConfig.model_fields, *SearchConfig.model_fields}
    named = set(re.findall(r"--(\w+)", guide)) - {"preset", "router", "model", "base", "help"}
    assert named <= known
