import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import results, runs
from core.config import DataConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.data.report import run
from core.data.split import SPLITS
from core.errors import UserError
from core.models.load import load_tokenizer
from core.results import ALL, DataRow, Leak
from core.workspace import Workspace


def reported(config: DataConfig) -> tuple[dict[str, Any], runs.Run]:
    made = runs.create("data", config.model_dump())
    return run(config, Workspace(made)), made


def figure(made: runs.Run, name: str, category: str = ALL, split: str = "") -> float:
    table = results.read(made.path / "report.csv", DataRow)
    found = table[(table.figure == name) & (table.category == category) & (table.split == split)]
    assert len(found) == 1
    return float(found.value.iloc[0])


def test_rows_and_tokens_are_those_of_the_tokenizer_itself(tiny_base: Path, tiny_data: Path) -> None:
    config = DataConfig(data=str(tiny_data), base_model=str(tiny_base))
    outputs, made = reported(config)
    tokenizer, dataset = load_tokenizer(str(tiny_base)), read(config)
    for category in dataset.categories:
        for split in SPLITS:
            rows = dataset.select(split, [category])
            assert figure(made, "rows", category, split) == len(rows)
            chats = [[{"role": "user", "content": row.question}] for row in rows]
            lengths = [
                len(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"])
                + len(tokenizer(row.answer, add_special_tokens=False)["input_ids"])
                + 1
                for chat, row in zip(chats, rows, strict=True)
            ]
            assert figure(made, "tokens_max", category, split) == max(lengths)
            assert figure(made, "tokens_mean", category, split) == pytest.approx(np.mean(lengths), abs=0.005)
    assert outputs["rows"] == len(dataset.rows) == figure(made, "rows")
    assert [outputs[split] for split in SPLITS] == [figure(made, "rows", split=split) for split in SPLITS]
    assert outputs["tokens_max"] == figure(made, "tokens_max")


def test_share_cut_and_unsupervised_rows_are_what_training_will_see(tiny_base: Path, tiny_data: Path) -> None:
    config = DataConfig(data=str(tiny_data), base_model=str(tiny_base), max_seq_length=40, system_prompt="You are a {category}.")
    outputs, made = reported(config)
    prompter = Prompter(load_tokenizer(str(tiny_base)), config.system_prompt, config.max_seq_length)
    encoded = prompter.encode_all([(row.question, row.answer, row.category) for row in read(config).rows])
    assert 0 < outputs["unsupervised"] < len(encoded)
    assert outputs["unsupervised"] == figure(made, "unsupervised") == sum(not each.answer for each in encoded)
    assert outputs["share_cut"] == figure(made, "share_cut") == pytest.approx(np.mean([each.cut for each in encoded]))


def test_drops_repeats_leaks_and_empty_splits_are_reported(tiny_base: Path, tmp_path: Path) -> None:
    answer = "A device that carries many people and much freight over two rails of steel, day and night."
    questions = [f"How does the railway number {n} work?" for n in range(40)]
    rows: list[dict[str, Any]] = [
        {"question": question, "answer": f"{answer} {n}", "category": "rail"} for n, question in enumerate(questions)
    ]
    rows += [{**rows[0]}, {**rows[1], "answer": "Otherwise."}, {"question": "Q", "answer": None, "category": "rail"}]
    rows += [{"question": "What is a railroad?", "answer": "🚂 قطار", "category": "lonely"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    outputs, made = reported(DataConfig(data=str(tmp_path / "rows.json"), base_model=str(tiny_base)))
    assert (outputs["dropped"], outputs["duplicates"], outputs["rows"]) == (1, 2, 43)
    assert figure(made, "duplicates_same_answer", "rail") == 1
    leaks = results.read(made.path / "leaks.csv", Leak)
    assert outputs["leaks"] == len(leaks) == figure(made, "leaks") > 0
    assert set(leaks.split) <= {"validation", "test"} and (leaks.similarity >= 0.8).all()
    table = results.read(made.path / "report.csv", DataRow)
    dropped = table[table.figure == "dropped"]
    assert dropped.value.tolist() == [1] and "answer is missing" in dropped.reason.iloc[0] and "row 43" in dropped.reason.iloc[0]
    lonely = table[(table.category == "lonely") & (table.split == "test")].set_index("figure")
    assert lonely.value["rows"] == 0 and np.isnan(lonely.value["tokens_mean"])
    assert "1 row" in lonely.reason["tokens_mean"]


def test_the_person_sees_a_summary_and_progress(tiny_base: Path, tiny_data: Path, home: Path) -> None:
    outputs, made = reported(DataConfig(data=str(tiny_data), base_model=str(tiny_base)))
    said = "\n".join(event["message"] for event in runs.read_events(made.run_id, "say"))
    for part in ("100 rows in 3 categories", "Dropped: 0 rows", "cynic", "lexicon", "hacker", "train"):
        assert part in said
    progress = runs.read_events(made.run_id, "progress")
    assert (progress[-1]["done"], progress[-1]["total"], progress[-1]["unit"]) == (100, 100, "rows")
    assert (home / outputs["report"]).exists() and (home / outputs["leaks_table"]).exists()
    json.dumps(outputs)


def test_one_row_is_a_dataset(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("question,answer\nWhat is a railroad?,A device.\n")
    outputs, made = reported(DataConfig(data=str(tmp_path / "one.csv"), base_model=str(tiny_base)))
    assert [outputs[key] for key in ("rows", "categories", "train", "validation", "test")] == [1, 1, 1, 0, 0]
    assert figure(made, "rows", ALL, "test") == figure(made, "rows", "general", "test") == 0


def test_an_unreadable_file_leaves_no_table(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    made = runs.create("data", {})
    with pytest.raises(UserError, match="empty"):
        run(DataConfig(data=str(tmp_path / "empty.csv"), base_model=str(tiny_base)), Workspace(made))
    assert not (made.path / "report.csv").exists()
