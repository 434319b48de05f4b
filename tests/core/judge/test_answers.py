"""Finding, reading and pairing answers, made here or elsewhere."""

import csv
from pathlib import Path

import pytest

from core import results, runs
from core.config import JudgeConfig
from core.errors import UserError
from core.judge import answers

FOREIGN = ("run", "model", "category", "question", "reference", "prediction")


def table(file: Path, *rows: tuple[str, ...], columns: tuple[str, ...] = FOREIGN) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([columns, *rows])
    return file


def models(folder: Path, *own: tuple[str, str]) -> None:
    rows = [results.Model("base", "base", "", "bundled", "0"), *(results.Model(name, "own", cat, name, "0") for name, cat in own)]
    results.write(folder / "models.csv", rows, results.Model)


def shown(file: Path, **fields: object) -> list[tuple[str, ...]]:
    found = answers.pair(file, JudgeConfig(answers=str(file), **fields))
    return [(p.candidate, p.category, p.question, p.base_prediction, p.candidate_prediction) for p in found.pairs]


def test_pairs_need_the_same_category_question_and_reference(tmp_path: Path) -> None:
    file = table(
        tmp_path / "answers.csv",
        ("r", "base", "x", "q1", "ref", "b1"),
        ("r", "tuned", "x", "q2", "ref", "t2"),
        ("r", "base", "x", "q2", "ref", "NA"),
        ("r", "tuned", "x", "q1", "ref", ""),
        ("r", "base", "x", "q3", "ref", "b3"),
        ("r", "tuned", "x", "q3", "another ref", "t3"),
        ("r", "base", "y", "q1", "ref", "b4"),
    )
    assert shown(file, candidate="tuned") == [("tuned", "x", "q1", "b1", ""), ("tuned", "x", "q2", "NA", "t2")]
    note = answers.pair(file, JudgeConfig(answers=str(file), candidate="tuned")).note
    assert note == "Left out: 2 questions that tuned did not answer."


def test_questions_about_other_matters_are_not_judged(tmp_path: Path) -> None:
    rows = [("r", model, category, "q", "ref", model) for model in ("base", "tuned") for category in ("x", results.GENERAL)]
    file = table(tmp_path / "answers.csv", *rows)
    assert shown(file, candidate="tuned") == [("tuned", "x", "q", "base", "tuned")]
    assert results.GENERAL not in answers.pair(file, JudgeConfig(answers=str(file), candidate="tuned")).note


def test_a_question_that_stands_twice_is_paired_in_order(tmp_path: Path) -> None:
    rows = [("r", model, "x", "q", "ref", f"{model}{n}") for n in (1, 2) for model in ("base", "tuned")]
    assert [pair[3:] for pair in shown(table(tmp_path / "a.csv", *rows), candidate="tuned")] == [("base1", "tuned1"), ("base2", "tuned2")]


def test_own_is_each_categorys_adapter(tmp_path: Path) -> None:
    rows = [("r", model, cat, f"{cat}{n}", "ref", model) for cat in "xyz" for n in range(3) for model in ("base", "ax", "ay", "ay2")]
    file = table(tmp_path / "answers.csv", *rows)
    models(tmp_path, ("ax", "x"), ("ay", "y"), ("ay2", "y"), ("never-asked", "z"))
    found = answers.pair(file, JudgeConfig(answers=str(file), limit=2))
    assert [(p.candidate, p.question) for p in found.pairs] == [
        ("ax", "x0"), ("ax", "x1"), ("ay", "y0"), ("ay2", "y0"), ("ay", "y1"), ("ay2", "y1"),
    ]  # fmt: skip
    assert found.note == (
        "Left out: z, which have no own adapter among the answers. Category y has several own adapters, each is judged: ay, ay2."
    )


def test_answers_are_found_by_run_path_and_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No evaluation is finished yet"):
        answers.find(JudgeConfig())
    made = [runs.create("evaluate", {}) for _ in range(3)]
    files = [table(run.path / "answers.csv") for run in made]
    for run, status in zip(made, ("done", "done", "failed"), strict=True):
        runs.update(run.run_id, status=status)
    assert answers.find(JudgeConfig(answers="last")) == max(files[:2])
    assert answers.find(JudgeConfig(answers=made[0].run_id)) == files[0]
    elsewhere = table(tmp_path / "theirs.csv")
    assert answers.find(JudgeConfig(answers=str(elsewhere))) == elsewhere
    assert answers.find(JudgeConfig(answers=str(made[0].path))) == files[0]
    with pytest.raises(UserError, match="no answers at 'nowhere.csv': it is neither a run"):
        answers.find(JudgeConfig(answers="nowhere.csv"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty, so there is nothing to judge"),
        (b"run,model,category,question,reference,prediction\n", "has columns but no rows"),
        (b"question,answer\nq,a\n", r"has no column model, category, reference, prediction; it has: question, answer\."),
        ("model,category\nbase,caf\u00e9".encode("latin-1"), "can't be read as a CSV table in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "can't be read as a CSV table in UTF-8"),
        (b"a,b\n1,2,3,4\n5\n1,2,3,4,5,6", "Line 2 of .* has 4 cells, and its head has 2"),
    ],
)
def test_files_that_are_no_answers_get_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        answers.pair(tmp_path / "bad.csv", JudgeConfig())


def test_models_that_are_not_there_are_answered_with_those_that_are(tmp_path: Path) -> None:
    file = table(tmp_path / "answers.csv", ("r", "base", "x", "q", "ref", "b"), ("r", "tuned", "y", "q", "ref", "t"))
    with pytest.raises(UserError, match="no answers of the base 'llama'. It has answers of: base, tuned"):
        answers.pair(file, JudgeConfig(base="llama"))
    with pytest.raises(UserError, match="no answers of the candidate 'tunde'. It has answers of: base, tuned"):
        answers.pair(file, JudgeConfig(candidate="tunde"))
    with pytest.raises(UserError, match=r"no models.csv beside .* models besides the base: tuned"):
        answers.pair(file, JudgeConfig())
    with pytest.raises(UserError, match="no question that both 'base' and 'tuned' answered .* It has 1 of base in x, 1 of tuned in y"):
        answers.pair(file, JudgeConfig(candidate="tuned"))
    models(tmp_path)
    with pytest.raises(UserError, match="names no category's own adapter. Name a candidate"):
        answers.pair(file, JudgeConfig())
