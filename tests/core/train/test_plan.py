"""The verb `plan`, and what it counts without loading anything."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, VeraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from core import paths, results, runs
from core.__main__ import main
from core.config import TrainConfig
from core.results import Step
from core.train import plan
from core.train.footprint import trainable_parameters
from core.train.run import run as train
from core.workspace import Workspace

TINY_LLAMA = LlamaConfig(
    vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4
)
LLAMA_2_7B = LlamaConfig(
    vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=32
)


def test_published_counts() -> None:
    assert trainable_parameters(TrainConfig(r=8, target_modules="q_proj,k_proj,v_proj,o_proj"), TINY_LLAMA) == 2_252_800
    assert trainable_parameters(TrainConfig(r=16, target_modules="q_proj,v_proj"), LLAMA_2_7B) == 8_388_608
    assert trainable_parameters(TrainConfig(r=8, method="qlora", target_modules="q_proj,k_proj,v_proj,o_proj"), TINY_LLAMA) == 2_252_800


@pytest.mark.parametrize("targets", ["q_proj,k_proj,v_proj,o_proj", "all-linear"])
@pytest.mark.parametrize(
    ("method", "theirs"),
    [("lora", LoraConfig), ("dora", lambda **fields: LoraConfig(use_dora=True, **fields)), ("vera", VeraConfig)],
)
def test_counts_equal_peft(tiny_base: Path, method: str, theirs: Callable[..., object], targets: str) -> None:
    config = AutoConfig.from_pretrained(tiny_base)
    modules = targets if targets == "all-linear" else targets.split(",")
    with torch.device("meta"):
        model = get_peft_model(AutoModelForCausalLM.from_config(config), theirs(r=4, target_modules=modules))
    assert trainable_parameters(TrainConfig(method=method, r=4, target_modules=targets), config) == model.get_nb_trainable_parameters()[0]


def test_all_weights_train_in_full(tiny_base: Path) -> None:
    config = AutoConfig.from_pretrained(tiny_base)
    with torch.device("meta"):
        expected = AutoModelForCausalLM.from_config(config).num_parameters()
    assert trainable_parameters(TrainConfig(method="full"), config) == expected


def test_a_plan_says_what_the_run_then_does(tiny_base: Path, tiny_data: Path) -> None:
    config = TrainConfig(data=str(tiny_data), base_model=str(tiny_base), r=4, epochs=2, batch_size=3)
    said = plan.run(config, Workspace(runs.create("plan", config.model_dump(mode="json"))))
    assert not list(paths.adapters().glob("*"))
    outputs = train(config, Workspace(runs.create("train", config.model_dump(mode="json"))))
    steps = results.read(paths.home() / outputs["steps"], Step)
    assert set(said["names"]) == set(outputs["adapters"])
    assert said["steps"] == len(steps)
    assert said["fits"] and said["memory_mb"] == pytest.approx(sum(said["memory_parts_mb"].values()))
    assert said["trainable_parameters"] == 2 * 4 * (128 + 96 + 96 + 128)
    assert said["tokens"] / said["tokens_per_second"] == pytest.approx(said["seconds"])


def test_an_earlier_run_tells_the_speed(tiny_base: Path, tiny_data: Path) -> None:
    config = TrainConfig(data=str(tiny_data), base_model=str(tiny_base), r=4)
    earlier = runs.create("train", config.model_dump(mode="json"))
    runs.update(earlier.run_id, status="done", outputs={"tokens_per_second": 1234.0})
    said = plan.run(config, Workspace(runs.create("plan", config.model_dump(mode="json"))))
    assert (said["tokens_per_second"], said["speed_from"]) == (1234.0, "as the last run of this kind here")


def test_dry_run_on_the_command_line(tiny_base: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dry-run", "--data", str(tiny_data), "--base_model", str(tiny_base), "--method", "vera"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["run_id"].split("-")[3] == "plan"
    assert last["outputs"]["fits"]
    assert not list(paths.adapters().glob("*"))
