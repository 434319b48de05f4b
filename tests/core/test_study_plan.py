"""What a study says before it begins: its stages, its time, and what it leaves out."""

import json

import pytest

from core import results, runs, study
from core.config import DataConfig, StudyConfig
from core.data.read import read
from core.data.split import split_of
from core.errors import UserError
from core.study_plan import PACE, check_names, plan
from core.workspace import Workspace


def planned(tmp_path, rows, **fields):
    file = tmp_path / "My Rows.jsonl"
    file.write_text("\n".join(json.dumps(dict(zip(("question", "answer", "category"), row, strict=True))) for row in rows))
    return plan(StudyConfig(data=str(file), **fields), read(DataConfig(data=str(file))))


def rows(category, number):
    return [(f"What is {category} {n}?", f"It is number {n} of {category}.", category) for n in range(number)]


def test_the_largest_categories_get_an_adapter_and_are_asked(home, tmp_path):
    made = planned(tmp_path, [*rows("law", 60), *rows("art", 40), *rows("tax", 80)], most_categories=2, size="large")
    assert made.trained == ["law", "tax"] and made.name == "My-Rows"
    held = read(DataConfig(data=made.config.data)).select("test", ["law", "tax"])
    assert made.asked == len(held) and made.models == 5
    assert "art get no adapter" in made.notes[0]
    assert f"{made.asked * 5} answers" in next(stage.what for stage in made.stages if stage.title == "evaluate")
    train = made.stages[1].configure({})
    assert train.categories == ("law", "tax") and train.name == "My-Rows"
    assert [stage.verb for stage in made.stages] == ["data", "train", "train", "merge", "evaluate", "judge", "judge", "judge", "report"]
    ends = list(made.shares().values())
    assert ends == sorted(ends) and ends[-1] == 100


def test_one_category_has_nothing_to_pool(home, tmp_path):
    made = planned(tmp_path, rows("law", 60))
    assert [stage.title for stage in made.stages] == ["data", "train own", "evaluate", "judge own", "report"] and made.models == 2


@pytest.mark.parametrize(("split", "said"), [("train", "nothing could be proved"), ("test", "nothing can be learned")])
def test_a_study_that_could_prove_nothing_is_refused_before_it_begins(home, tmp_path, split, said):
    with pytest.raises(UserError, match=said):
        planned(tmp_path, [row for row in rows("law", 60) if split_of(row[0]) == split][:4])


def test_the_pace_is_that_of_earlier_runs_here(home, tmp_path):
    before = planned(tmp_path, rows("law", 60))
    assert before.paces == {"train": None, "evaluate": None} and "two CPU cores" in before.pace_from
    train = runs.create("train", {"base_model": "bundled"})
    runs.update(train.run_id, status="done", outputs={"tokens_per_second": 10 * PACE["train"]})
    evaluate = runs.create("evaluate", {"base_model": "bundled", "max_new_tokens": 50})
    answer = results.Answer(evaluate.run_id, "base", "law", "q", "r", "p", 1.0, 1, "stop")
    results.write(evaluate.path / "answers.csv", [answer] * 8, results.Answer)
    runs.update(evaluate.run_id, status="done", started_at="2026-01-01T00:00:00.000+00:00", finished_at="2026-01-01T00:00:04.000+00:00")
    after = planned(tmp_path, rows("law", 60))
    assert after.paces == {"train": 10 * PACE["train"], "evaluate": 8 * 50 / 4} and after.pace_from == "at the pace of earlier runs here"
    assert after.stages[1].seconds < before.stages[1].seconds


def test_of_many_small_categories_those_are_taken_that_can_be_examined(home, tmp_path):
    made = planned(tmp_path, [row for number in range(60) for row in rows(f"subject {number}", 5)])
    assert len(made.trained) == 8 and all(len(made.dataset.groups[name, "test"]) for name in made.trained)


def test_a_category_called_merged_has_its_adapter_and_the_merge_another_name(home, tmp_path):
    made = planned(tmp_path, [*rows("merged", 60), *rows("open", 60)], name="x")
    assert made.adapters == ["x-merged", "x-open", "x-pooled"] and made.merged == "x-linear_merge"
    check_names(made)


@pytest.mark.parametrize(
    ("shelf", "taken"), [("adapters", "x-law"), ("adapters", "x-pooled"), ("merged_adapters", "x-merged"), ("models", "x-art")]
)
def test_a_name_that_is_taken_is_said_before_anything_trains(home, tmp_path, shelf, taken):
    made = planned(tmp_path, [*rows("law", 60), *rows("art", 60)], name="x")
    check_names(made)
    (home / shelf / taken).mkdir(parents=True)
    with pytest.raises(UserError, match=f"{shelf}/ has '{taken}' already"):
        check_names(made)
    again = planned(tmp_path, [*rows("law", 60), *rows("art", 60)], name="x", replace=True)
    if shelf == "models":
        with pytest.raises(UserError, match="already"):
            check_names(again)
    else:
        check_names(again)


def test_a_name_that_is_no_folder_is_refused(home, tmp_path):
    with pytest.raises(UserError, match="x"):
        check_names(planned(tmp_path, rows("law", 60), name="../x"))


def test_a_judge_without_its_key_is_missed_before_anything_trains(home, tmp_path):
    made = planned(tmp_path, rows("law", 60), backend=("groq",))
    run = runs.create("study", made.config.model_dump(mode="json"))
    with pytest.raises(UserError, match="GROQ_API_KEY"):
        study.run(made.config, Workspace(run))
    assert not runs.listing(parent=run.run_id)
