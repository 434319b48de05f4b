"""Which way a run takes through its memory."""

from pathlib import Path

import pytest

from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.models.load import load_tokenizer
from core.train import choice, estimate
from core.train.choice import choose, rough_need
from core.train.cohort import Member, gather
from core.train.estimate import Choice, Estimator


@pytest.fixture
def config(tiny_base: Path, tiny_data: Path) -> TrainConfig:
    return TrainConfig(data=str(tiny_data), base_model=str(tiny_base), r=4)


@pytest.fixture
def members(config: TrainConfig) -> list[Member]:
    return gather(config, read(config), Prompter(load_tokenizer(config.base_model)))[0]


def test_plenty_of_memory_means_the_default(config: TrainConfig, members: list[Member]) -> None:
    assert choose(config, members) == Choice(1024, len(members), False)
    said = config.model_copy(update={"micro_batch_tokens": 200, "gradient_checkpointing": True})
    assert choose(said, members) == Choice(200, len(members), True)


@pytest.mark.parametrize("fields", [{}, {"method": "dora"}, {"method": "vera", "r": 64}, {"target_modules": ("all-linear",), "r": 32}])
def test_the_rough_need_is_above_the_estimate(config: TrainConfig, members: list[Member], fields: dict) -> None:
    other = config.model_copy(update=fields)
    parts = Estimator(other, members).estimate(Choice(1024, len(members), False)).parts_mb
    assert rough_need(other, len(members)) > sum(parts.values()) * 2**20


def test_little_memory_means_smaller_pieces_and_fewer_adapters(
    config: TrainConfig, members: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    need = sum(Estimator(config, members).estimate(Choice(1024, len(members), False)).parts_mb.values()) * 2**20
    for module in (choice, estimate):
        monkeypatch.setattr(module, "available_bytes", lambda _: int(need * 0.98))
    chosen = choose(config, members)
    assert chosen.micro_batch_tokens < 1024 or chosen.adapters_per_pass < len(members) or chosen.gradient_checkpointing
