"""Every row of a file is asked, where nobody learned from it."""

import shutil

import pytest

from core.config import EvaluateConfig
from core.errors import UserError
from core.models import load
from tests.core.evaluate.evaluated import evaluate, make_adapter

FEW = {"metrics": ("rouge",), "max_new_tokens": 2, "precision": "fp32", "device": "cpu"}


def test_all_rows_are_asked_of_those_who_learned_from_another_file(tiny_base, tiny_data, tmp_path):
    base = load.load(str(tiny_base), device="cpu")
    make_adapter(base, "cynic", 1, categories=["cynic"], config={"data": str(tiny_data)})
    asked = tmp_path / "saved.jsonl"
    shutil.copy(tiny_data, asked)
    found = evaluate(EvaluateConfig(base_model=str(tiny_base), models="base,cynic", data=str(asked), split="all", **FEW))
    assert len(found.answers) == 2 * 100, "48 + 32 + 20 rows, of every split"
    with pytest.raises(UserError, match="'cynic' was trained on rows of .*, so split=all would ask what it has learned. Say split=test"):
        evaluate(EvaluateConfig(base_model=str(tiny_base), models="base,cynic", data=str(tiny_data), split="all", **FEW))
