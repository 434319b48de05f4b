"""Training on rows that lie on disk is training on rows in memory: the same members, batches and adapters."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from core import runs
from core.config import TrainConfig
from core.data import source
from core.data.prompt import Prompter
from core.data.read import read
from core.models.load import load_tokenizer
from core.train.cohort import Member, gather
from core.train.estimate import _cut
from core.train.run import run
from core.train.token_store import TokenRows, lengths
from core.workspace import Workspace


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


def members(config: TrainConfig, heard: list[int] | None = None) -> list[Member]:
    prompter = Prompter(load_tokenizer(config.base_model), config.system_prompt, config.max_seq_length)
    return gather(config, read(config), prompter, lambda done, total: heard.append(done) if heard is not None else None)[0]


@pytest.mark.parametrize("fields", [{}, {"categories": "pooled"}, {"categories": "cynic,hacker", "max_seq_length": 60}])
def test_members_are_those_in_memory(tiny_base: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, fields: dict) -> None:
    config = TrainConfig(data=str(tiny_data), base_model=str(tiny_base), system_prompt="You are a {category}.", **fields)
    held = members(config)
    monkeypatch.setattr(source, "LARGE_BYTES", -1)
    stored = members(config)
    assert [each.name for each in stored] == [each.name for each in held]
    for ours, theirs in zip(stored, held, strict=True):
        assert isinstance(ours.train, TokenRows) and list(ours.train) == theirs.train and list(ours.train[2:5]) == theirs.train[2:5]
        assert (list(ours.validation), list(ours.validation_rows)) == (theirs.validation, theirs.validation_rows)
        assert [ours.batch(step) for step in range(ours.total_steps)] == [theirs.batch(step) for step in range(theirs.total_steps)]
        assert (
            lengths(ours.train).tolist() == lengths(theirs.train).tolist() == [[len(row.prompt), len(row.answer)] for row in theirs.train]
        )
    for ours, theirs in zip(_cut(stored, 30), _cut(held, 30), strict=True):
        assert list(ours.train) == list(theirs.train) and max(map(len, ours.train)) <= 30


def test_tokens_are_made_once_for_the_same_prompts(tiny_base: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(source, "LARGE_BYTES", -1)
    config, heard = TrainConfig(data=str(tiny_data), base_model=str(tiny_base)), []
    first = members(config, heard)
    made = len(heard)
    assert made and members(config, heard)[0].batch(0) == first[0].batch(0) and len(heard) == made
    for other in ({"max_seq_length": 40}, {"system_prompt": "Be brief."}, {"categories": ("cynic",)}):
        members(config.model_copy(update=other), heard)
        made += 1
        assert len(heard) == made
    assert len(list(cache.glob("*/tokens/*/cut.npy"))) == made


def test_a_member_with_other_rows_has_an_order_of_its_own(tiny_base: Path, tiny_data: Path) -> None:
    member = members(TrainConfig(data=str(tiny_data), base_model=str(tiny_base)))[0]
    whole = member.batch(0)
    half = replace(member, train=member.train[: len(member.train) // 2])
    assert all(row in half.train for row in half.batch(0)) and member.batch(0) == whole


def test_rows_that_are_sent_elsewhere_take_their_tokens_along(
    tiny_base: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(source, "LARGE_BYTES", -1)
    sent = members(TrainConfig(data=str(tiny_data), base_model=str(tiny_base)))
    packed = pickle.dumps(sent)
    shutil.rmtree(cache)
    for here, there in zip(sent, pickle.loads(packed), strict=True):
        assert list(there.train) == list(here.train) and list(there.validation) == list(here.validation)
        assert list(there.validation_rows) == list(here.validation_rows) and there.batch(1) == here.batch(1)


def test_the_adapters_are_the_same(tiny_base: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    weights = []
    for large in (False, True):
        if large:
            monkeypatch.setattr(source, "LARGE_BYTES", -1)
        config = TrainConfig(data=str(tiny_data), base_model=str(tiny_base), epochs=1, batch_size=4, name=f"large-{large}", device="cpu")
        started = runs.create("train", config.model_dump())
        run(config, Workspace(started))
        table = (started.path / "validation_rows.csv").read_text().replace(f"large-{large}", "")
        weights.append(
            (
                {
                    name: load_file(home / "adapters" / f"large-{large}-{name}" / "adapter_model.safetensors")
                    for name in ("cynic", "hacker")
                },
                table,
            )
        )
    (one, table), (other, other_table) = weights
    assert table == other_table
    for name in one:
        assert all((one[name][key] == other[name][key]).all() for key in one[name])
