"""Members of a cohort: steps, order, learning rate and names, against transformers' schedulers."""

from pathlib import Path

import pytest
import torch
from transformers import get_scheduler

from core.config import TrainConfig
from core.data.prompt import Encoded, Prompter
from core.data.read import read
from core.models.load import load_tokenizer
from core.train.cohort import Member, gather

ROW = Encoded([1], [2], False)


def member(rows: int, **fields: object) -> Member:
    return Member("m", "own", ("c",), [ROW] * rows, [], [], TrainConfig(**fields))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_learning_rate_equals_transformers(schedule: str) -> None:
    ours = member(40, schedule=schedule, warmup_ratio=0.1, epochs=3, batch_size=4, learning_rate=2e-3)
    assert ours.total_steps == 30
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=2e-3)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = get_scheduler(name, optimizer, num_warmup_steps=3, num_training_steps=30)
    for step in range(30):
        assert ours.learning_rate(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()


def test_steps_and_batches_cover_every_row_once_an_epoch() -> None:
    rows = [Encoded([1], [index], False) for index in range(10)]
    ours = Member("m", "own", ("c",), rows, [], [], TrainConfig(batch_size=2, gradient_accumulation=2, epochs=2))
    assert (ours.steps_per_epoch, ours.total_steps) == (3, 6)
    first = [row.answer[0] for step in range(3) for row in ours.batch(step)]
    second = [row.answer[0] for step in range(3, 6) for row in ours.batch(step)]
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert [step for step in range(6) if ours.ends_epoch(step)] == [2, 5]


def test_max_steps_is_an_upper_bound() -> None:
    assert member(40, max_steps=7).total_steps == 7
    assert member(4, max_steps=700, epochs=1).total_steps == 1


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["cynic-lora", "hacker-lora", "lexicon-lora"]),
        ({"name": "v2"}, ["v2-cynic", "v2-hacker", "v2-lexicon"]),
        ({"categories": "pooled"}, ["pooled-lora"]),
        ({"categories": "pooled", "name": "everything"}, ["everything"]),
        ({"categories": "cynic", "name": "mine"}, ["mine"]),
        ({"categories": "cynic,lexicon", "name": "mine"}, ["mine-cynic", "mine-lexicon"]),
        ({"method": "qlora", "categories": "cynic"}, ["cynic-qlora"]),
    ],
)
def test_names(tiny_base: Path, tiny_data: Path, fields: dict, names: list[str]) -> None:
    config = TrainConfig(data=str(tiny_data), base_model=str(tiny_base), **fields)
    members, _ = gather(config, read(config), Prompter(load_tokenizer(str(tiny_base))))
    assert sorted(each.name for each in members) == names


def test_a_category_too_small_to_train_is_left_out_with_its_reason(tiny_base: Path, tmp_path: Path) -> None:
    from core.data.split import split_of

    held_out = next(f"question {n}" for n in range(100) if split_of(f"question {n}") == "test")
    rows = [f'{{"question": "question {n}", "answer": "a", "category": "big"}}' for n in range(30)]
    (tmp_path / "d.jsonl").write_text("\n".join([*rows, f'{{"question": "{held_out}", "answer": "a", "category": "small"}}']))
    config = TrainConfig(data=str(tmp_path / "d.jsonl"), base_model=str(tiny_base))
    members, notes = gather(config, read(config), Prompter(load_tokenizer(str(tiny_base))))
    assert [each.name for each in members] == ["big-lora"]
    assert "'small' is left out: it has no training row" in notes[-1]
