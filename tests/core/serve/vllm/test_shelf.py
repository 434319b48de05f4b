"""What vLLM can answer as, at which rank, and the sentences for what it can't."""

import json

import pytest
import torch

from core import adapter, paths
from core.adapter import Adapter, Factor
from core.config import MergeConfig
from core.errors import UserError
from core.models import load
from core.serve.vllm import shelf
from core.serve.vllm.shelf import Shelf


@pytest.mark.parametrize(
    ("ranks", "limit"),
    [([], 16), ([1], 1), ([2], 8), ([8, 16], 16), ([16, 17], 32), ([56], 64), ([112], 128), ([257], 320), ([512, 8], 512), ([8, 600], 8)],
)
def test_the_limit_is_the_smallest_that_vllm_allows(ranks, limit):
    assert shelf.rank_limit(ranks) == limit


@pytest.fixture
def mixes(tiny_base):
    return Shelf("tiny", load.content_hash(tiny_base))


def edit(folder, **fields):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_only_what_stands_on_the_base_model_counts(tiny_base, adapters, mixes):
    adapters("x", 1, r=4, rank_pattern={"layers.0.self_attn.q_proj": 24})
    adapters("dora", 2, use_dora=True)
    edit(adapters("head", 3), modules_to_save=["lm_head"])
    other = adapters("other", 4)
    (other / "run.json").write_text(json.dumps({"role": "own", "base_hash": "another"}))
    found = shelf.standing_on(mixes.base_hash)
    assert list(found) == ["x"] and shelf.rank(found["x"]) == 24


def test_mixes_are_refused_with_the_command_that_bakes_them(adapters, mixes):
    adapters("x", 1)
    adapters("y", 2)
    with pytest.raises(UserError, match=r"mix of x, y\. Bake it: python -m core merge --adapters x,y"):
        mixes.plan(MergeConfig(adapters=("x", "y")))
    with pytest.raises(UserError, match="Bake it"):
        mixes.plan(MergeConfig(adapters=("x",), weights=(0.5,)))
    alone = mixes.plan(MergeConfig(adapters=("x", "y"), weights=(1.0, 0.0)))
    assert [each[0] for each in alone.everyone] == ["x"]
    assert mixes.plan(None).everyone == ()


def test_what_vllm_cannot_load_is_refused_with_what_to_do(adapters, mixes):
    adapters("dora", 1, use_dora=True)
    edit(adapters("saved", 2), modules_to_save=["lm_head"])
    adapters("wide", 3, r=40)
    for name, what in (("dora", "it has DoRA"), ("saved", "it has modules_to_save")):
        with pytest.raises(UserError, match=f"can't take '{name}': {what}.*merge_and_unload"):
            mixes.plan(MergeConfig(adapters=(name,)))
    mixes.limit = 32
    with pytest.raises(UserError, match="rank 40, and this vLLM was started for ranks up to 32. Started again"):
        mixes.plan(MergeConfig(adapters=("wide",)))
    mixes.limit = 64
    assert mixes.plan(MergeConfig(adapters=("wide",))).everyone


def test_ranks_beyond_vllms_largest_become_a_whole_model(tiny_base, mixes):
    layer = "model.layers.0.mlp.down_proj"
    factor = Factor(torch.zeros(600, 128), torch.zeros(64, 600), 1.0)
    adapter.write(Adapter("huge", {layer: factor}, str(tiny_base)), paths.adapters() / "huge")
    with pytest.raises(UserError, match="python -m core export --model huge"):
        mixes.plan(MergeConfig(adapters=("huge",)))
