"""Questions saved in the playground: appended whole, refused twice, and asked by an evaluation."""

import json
import multiprocessing

import pytest

from core import saved_questions, uploads
from core.config import DataConfig, EvaluateConfig
from core.data.read import read
from core.errors import UserError
from core.evaluate.run import run
from core.runs import create
from core.saved_questions import rows, save
from core.workspace import Workspace


def test_a_row_is_added_at_the_end_and_is_offered_as_data():
    save(" What is wealth? ", "Enough.\nNo more.", "cynic", "cynic-lora")
    place = save("Was ist Glück?", "Übung <b>", "wisdom")
    assert place in uploads.listing() and len(place.read_text().splitlines()) == 2
    assert [(row["question"], row["answer"], row["category"], row["model"]) for row in rows()] == [
        ("What is wealth?", "Enough.\nNo more.", "cynic", "cynic-lora"),
        ("Was ist Glück?", "Übung <b>", "wisdom", ""),
    ]
    dataset = read(DataConfig(data=str(place)))
    assert [(row.question, row.answer, row.category) for row in dataset.rows][1] == ("Was ist Glück?", "Übung <b>", "wisdom")


@pytest.mark.parametrize(
    ("question", "answer", "category", "said"),
    [
        ("what is  wealth", "Another.", "cynic", "'what is  wealth' is saved in category 'cynic' already"),
        ("", "a", "cynic", "The question is empty"),
        ("q", " \n", "cynic", "The answer is empty"),
        ("q", "a", "", "The category is empty"),
        ("q", "a", "each", "'each' means something else where categories are named"),
        ("q", "a", "cynic ", None),
        ("q", "a" * 20_001, "cynic", "The answer has 20,001 characters, more than 20,000"),
        ("q", "a", "a b", "The categories 'a-b' and 'a b' are too much alike"),
        ("What is wealth?", "a", "wisdom", None),
    ],
)
def test_what_cannot_be_saved_is_a_sentence_and_changes_nothing(question, answer, category, said):
    save("What is wealth?", "Enough.", "cynic")
    before = save("Why?", "So.", "a-b").read_bytes()
    if said is None:
        save(question, answer, category)
        assert len(rows()) == 3
        return
    with pytest.raises(UserError) as error:
        save(question, answer, category)
    assert said in str(error.value) and saved_questions.file().read_bytes() == before


def _save_some(start):
    for number in range(start, start + 20):
        save(f"Question {number}?", "a", "cynic")


def test_several_may_save_at_once():
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(_save_some, [0, 20, 40, 60])
    assert sorted(row["question"] for row in rows()) == sorted(f"Question {number}?" for number in range(80))
    assert [file.name for file in uploads.listing() if not file.name.startswith(".")] == [saved_questions.NAME]


def test_an_evaluation_asks_all_of_them(tiny_base):
    questions = [f"What is number {number}?" for number in range(3)]
    for question in questions:
        place = save(question, "A number.", "general")
    fields = {
        "data": str(place),
        "base_model": str(tiny_base),
        "models": ("base",),
        "metrics": ("rouge", "perplexity"),
        "max_new_tokens": 4,
    }
    with pytest.raises(UserError, match="no row"):
        run(EvaluateConfig(**fields), Workspace(create("evaluate", {})))
    config = EvaluateConfig(**fields, split="all")
    workspace = Workspace(create("evaluate", json.loads(config.model_dump_json())))
    run(config, workspace)
    answers = (workspace.path / "answers.csv").read_text()
    assert all(answers.count(question) == 1 for question in questions)
    assert "memorised" not in (workspace.path / "flags.csv").read_text()
