import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import DataConfig
from core.data.read import Dataset, read
from core.data.split import SPLITS, split_of
from core.errors import UserError


def given(folder: Path, *rows: tuple[str, str, str]) -> Dataset:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"question": q, "answer": a, "category": c}) for q, a, c in rows), encoding="utf-8")
    return read(DataConfig(data=str(path)))


def test_adding_rows_moves_no_row_and_no_question_stands_in_two_splits(tmp_path: Path) -> None:
    rows = [(f"Question {number}?", "Answer.", f"c{number % 3}") for number in range(300)]
    before = {row.question: row.split for row in given(tmp_path, *rows).rows}
    more = [(f"New {number}?", "Answer.", "c0") for number in range(300)]
    after = given(tmp_path, *more, *reversed(rows), *[(q.upper(), "Other.", "c9") for q, _, _ in rows]).rows
    assert {row.question: row.split for row in after if row.question in before} == before
    assert all(row.split == before[row.question.capitalize()] for row in after if row.category == "c9")


def test_select_keeps_file_order_and_limits_each_category(tiny_data: Path) -> None:
    dataset = read(DataConfig(data=str(tiny_data)))
    assert dataset.categories == list(dict.fromkeys(json.loads(line)["category"] for line in tiny_data.read_text().splitlines()))
    train = dataset.select("train")
    assert train == [row for row in dataset.rows if row.split == "train"]
    assert all(split_of(row.question) == "train" for row in train)
    limited = dataset.select("train", ["lexicon", "cynic"], limit=4)
    for category in ("lexicon", "cynic"):
        assert [row for row in limited if row.category == category] == [row for row in train if row.category == category][:4]
    assert len(limited) == 8
    assert sum(len(dataset.select(split)) for split in SPLITS) == len(dataset.rows)
    assert dataset.select("test", list(reversed(dataset.categories))) == dataset.select("test")


def test_select_names_the_known_categories(tiny_data: Path) -> None:
    with pytest.raises(UserError, match="no category 'stoic'.*cynic.*lexicon"):
        read(DataConfig(data=str(tiny_data))).select("test", ["stoic"])


def test_a_category_of_one_row_has_empty_splits_with_the_reason(tmp_path: Path) -> None:
    dataset = given(tmp_path, ("What is a railroad?", "A device.", "lonely"), *[(f"Q{n}", "A", "many") for n in range(60)])
    assert [len(dataset.groups["lonely", split]) for split in SPLITS] == [1, 0, 0]
    assert dataset.empty_reason("lonely", "train") == ""
    assert "1 row" in dataset.empty_reason("lonely", "test") and "10%" in dataset.empty_reason("lonely", "test")
    assert dataset.select("test", ["lonely"]) == []


def test_categories_that_share_a_folder_name_are_refused_by_both_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'old school' and 'old-school'"):
        given(tmp_path, ("Q", "A", "old school"), ("R", "A", "old-school"))
    kept = given(tmp_path, ("Q", "A", "C#"), ("R", "A", "C++"), ("S", "A", "C"), ("T", "A", "哲学"), ("U", "A", "科学"))
    assert kept.categories == ["C#", "C++", "C", "哲学", "科学"]


@pytest.mark.parametrize("word", ["(all)", "each", "pooled"])
def test_a_category_that_is_a_word_of_ours_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(UserError, match="Rename"):
        given(tmp_path, ("Q", "A", word))


def test_the_hash_follows_the_rows_and_nothing_else(tmp_path: Path) -> None:
    one, other, moved = ("Q", "A", "x"), ("R", "B", "x"), ("QA", "", "x")
    assert given(tmp_path, one, other).source_hash == given(tmp_path, one, other, moved).source_hash
    assert given(tmp_path, one, other).source_hash != given(tmp_path, other, one).source_hash
    assert given(tmp_path, ("ab", "c", "x")).source_hash != given(tmp_path, ("a", "bc", "x")).source_hash


def test_shipped_files_are_read_whole_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    schools, toy = read(DataConfig()), read(DataConfig(data="data/toy_qa.jsonl"))
    assert (len(schools.rows), len(schools.categories)) == (1540, 7)
    assert len(toy.categories) == 3 and len(toy.rows) >= 36
    for dataset in (schools, toy):
        assert not dataset.dropped
        assert all(len(places) for places in dataset.groups.values())


def test_reading_loads_neither_torch_nor_datasets() -> None:
    code = (
        "import sys; from core.config import DataConfig; from core.data.read import read; read(DataConfig());"
        "print([name for name in ('torch', 'transformers', 'datasets', 'pyarrow', 'pandas') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert shown.stdout.strip() == "[]"


def test_adapters_of_other_categories_are_named(tmp_path):
    file = tmp_path / "some.jsonl"
    file.write_text('{"question": "Why?", "answer": "So.", "category": "cynic"}\n')
    dataset = read(DataConfig(data=str(file)))
    [sentence] = dataset.strangers({"garden-lora": ["garden"], "cynic-lora": ["cynic"], "pooled": ["cynic", "garden"], "foreign": []})
    assert sentence.startswith(f"garden-lora trained on categories that '{file}' does not have.")
    assert dataset.strangers({"cynic-lora": ["cynic"]}) == []
