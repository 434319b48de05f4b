"""The estimate of a run's memory: its parts against tensors that were counted, its total against a real process."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from core import paths
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.models.load import load, load_tokenizer
from core.models.memory import weightless
from core.train import estimate
from core.train.cohort import Member, gather
from core.train.estimate import MB, Choice, Estimator
from core.train.lora import Lora
from core.train.training_bank import TrainingBank


@pytest.fixture
def config(tiny_base: Path, tiny_data: Path) -> TrainConfig:
    return TrainConfig(data=str(tiny_data), base_model=str(tiny_base), r=8, target_modules=("all-linear",), batch_size=16)


def members_of(config: TrainConfig) -> list[Member]:
    return gather(config, read(config), Prompter(load_tokenizer(config.base_model)))[0]


def test_a_weightless_model_counts_what_a_real_one_holds(tiny_base: Path) -> None:
    real = AutoModelForCausalLM.from_pretrained(tiny_base)
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in [*real.parameters(), *real.buffers()]}
    with weightless(AutoConfig.from_pretrained(tiny_base), torch.device("cpu"), torch.float32) as (_, live):
        assert live.now == pytest.approx(sum(held.values()), rel=0.01)


def test_parts_equal_the_tensors_of_a_real_bank(config: TrainConfig) -> None:
    members = members_of(config)
    found = Estimator(config, members).footprint(Choice(1024, len(members), False))
    base = load(config.base_model)
    bank = TrainingBank(base.model, Lora(config), ["one"], config)
    numbers = sum(tensor.nbytes for tensor in (bank.values, bank.gradients, bank.best))
    assert found.weights == pytest.approx(sum(parameter.nbytes for parameter in base.model.parameters()), rel=0.01)
    assert found.moments == pytest.approx(2 * bank.values.nbytes, rel=0.01)
    assert found.adapter - found.moments - numbers < 0 < found.adapter - numbers + 1


def test_more_tokens_take_more_and_recomputing_takes_less(config: TrainConfig) -> None:
    estimator = Estimator(config, members_of(config))
    small, large = (estimator.footprint(Choice(tokens, 1, False)).activations for tokens in (250, 1000))
    assert 2 * small < large
    assert estimator.footprint(Choice(1000, 1, True)).activations < large / 2


def test_what_does_not_fit_says_what_would(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    members = members_of(config)
    everything = Choice(1024, len(members), False)
    need = Estimator(config, members).estimate(everything).total_mb
    monkeypatch.setattr(estimate, "available_bytes", lambda _: int((need - 1) * MB))
    advised = Estimator(config, members).advised(everything)
    assert not advised.fits
    assert advised.advice.startswith("It would fit with micro_batch_tokens=")
    monkeypatch.setattr(estimate, "available_bytes", lambda _: 1 * MB)
    assert Estimator(config, members).advised(everything).advice.startswith("Not even")


def test_adapters_are_dealt_over_passes_when_memory_holds_only_some(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    member = members_of(config)[0]
    members = [replace(member, name=f"m{k}") for k in range(2000)]
    one = Estimator(config, members).parts(Choice(1024, len(members), False), adapters=1)
    monkeypatch.setattr(estimate, "available_bytes", lambda _: int(sum(one.values()) * 2))
    chosen = Estimator(config, members).choice()
    assert 1 <= chosen.adapters_per_pass < 2000


CHILD = """
import json, sys
import torch
torch.set_num_threads(1)
import core.train.run, core.train.footprint, matplotlib, pandas
from core import runs
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.models.load import load_tokenizer
from core.workspace import Workspace
from core.train.cohort import gather
from core.train.estimate import Choice, Estimator

config, what = TrainConfig(**json.loads(sys.argv[1])), sys.argv[2]
def memory(line):
    return next(int(each.split()[1]) / 1024 for each in open("/proc/self/status") if each.startswith(line))
if what == "estimate":
    members = gather(config, read(config), Prompter(load_tokenizer(config.base_model), None, 512))[0]
    choice = Choice(config.micro_batch_tokens or 1024, len(members), bool(config.gradient_checkpointing))
    print(Estimator(config, members).estimate(choice).total_mb)
else:
    own = memory("VmRSS")
    core.train.run.run(config, Workspace(runs.create("train", config.model_dump(mode="json"))))
    print(memory("VmHWM") - own)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"categories": "cynic", "micro_batch_tokens": 512, "batch_size": 8},
        {"categories": "each", "batch_size": 2},
        {"categories": "cynic", "method": "dora", "r": 16, "target_modules": "all-linear", "micro_batch_tokens": 512, "batch_size": 8},
        {"categories": "cynic", "precision": "bf16", "r": 16, "batch_size": 16},
        {"categories": "cynic", "gradient_checkpointing": True, "batch_size": 8},
        {"categories": "cynic", "method": "qlora", "r": 64, "micro_batch_tokens": 512, "batch_size": 4},
        {"categories": "cynic", "method": "full", "learning_rate": 1e-5, "micro_batch_tokens": 256, "batch_size": 4},
    ],
)
def test_estimate_is_within_15_percent_of_a_process_that_trains_smollm2(fields: dict) -> None:
    given = json.dumps({"data": str(paths.PROJECT / "data" / "seven_schools.jsonl"), "max_steps": 3, **fields})
    found = {}
    for what in ("estimate", "measure"):
        done = subprocess.run([sys.executable, "-c", CHILD, given, what], capture_output=True, text=True, cwd=paths.PROJECT, check=True)
        found[what] = float(done.stdout.splitlines()[-1])
    assert found["estimate"] == pytest.approx(found["measure"], rel=0.15)
