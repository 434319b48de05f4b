"""Demo prompts: five general ones, and of each category what no adapter was trained on."""

import pytest

from core import demo_prompts
from core.config import DataConfig
from core.data.read import read
from core.errors import UserError
from tests.conftest import SCHOOLS


def test_prompts_are_held_out_questions_of_their_category():
    rows = read(DataConfig(data=str(SCHOOLS))).rows
    found = demo_prompts.by_category(str(SCHOOLS), most=4)
    assert list(found) == list(dict.fromkeys(row.category for row in rows)) and len(found) == 7
    trained = {(row.category, row.question) for row in rows if row.split == "train"}
    asked = {(row.category, row.question) for row in rows}
    for category, questions in found.items():
        assert len(set(questions)) == len(questions) == 4
        assert all((category, question) in asked - trained for question in questions)


def test_five_general_ones_and_a_sentence_for_missing_data():
    assert len(set(demo_prompts.GENERAL)) == 5
    with pytest.raises(UserError, match=r"none\.jsonl"):
        demo_prompts.by_category("none.jsonl")
