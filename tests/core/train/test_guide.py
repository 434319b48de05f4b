"""docs/training.md names fields and model types that exist. Its tables are made from the code (tests/docs)."""

import re

import pytest

from core import paths
from core.config import TrainConfig
from core.models.packed import ARCHITECTURES


@pytest.fixture(scope="module")
def guide() -> str:
    return (paths.PROJECT / "docs" / "training.md").read_text(encoding="utf-8")


def test_fields_and_model_types_that_it_names_exist(guide: str) -> None:
    fields = set(re.findall(r"--(\w+)", guide)) - {"preset", "num_processes", "nproc_per_node", "multi_gpu", "cpu", "dry", "resume", "help"}
    assert fields <= set(TrainConfig.model_fields) and len(fields) >= 6
    named = re.search(r"row by\s+row: (.*?)\. Others", guide, re.DOTALL).group(1)
    assert re.split(r",\s+", named) == list(ARCHITECTURES), ", ".join(ARCHITECTURES)
