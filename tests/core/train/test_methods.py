"""Every method, 30 steps on real text, against a plain loop around peft: padded batches, HF loss, clip_grad_norm_, AdamW."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, VeraConfig, get_peft_model
from torch import Tensor

from core.config import TrainConfig
from core.models.load import load

NAMES = {"A": "lora_A.default.weight", "B": "lora_B.default.weight", "m": "lora_magnitude_vector.default.weight"}
NAMES |= {"d": "vera_lambda_d.default", "b": "vera_lambda_b.default"}
"""peft's names of a method's tensors."""

CASES = {
    "lora, all layers, biases, weight decay": {"target_modules": "all-linear", "weight_decay": 0.1},
    "lora_plus": {"loraplus_lr_ratio": 8, "learning_rate": 1e-3},
    "lora_fa, all layers": {"target_modules": "all-linear"},
    "vera": {"r": 16, "learning_rate": 2e-2, "seed": 5},
    "vera, all layers, biases, weight decay": {"r": 16, "target_modules": "all-linear", "weight_decay": 0.1, "learning_rate": 2e-2},
    "dora, all layers, biases, weight decay": {"target_modules": "all-linear", "weight_decay": 0.1},
    "dora, 4-bit base": {"quantization": "nf4"},
    "qlora, all layers, biases": {"target_modules": "all-linear"},
}


def peft_model(model: Any, config: TrainConfig) -> PeftModel:
    targets = "all-linear" if config.target_modules == ("all-linear",) else list(config.target_modules)
    if config.method == "vera":
        fields = {"projection_prng_key": config.seed, "d_initial": config.vera_d_initial}
        return get_peft_model(model, VeraConfig(r=config.r, target_modules=targets, task_type="CAUSAL_LM", **fields))
    fields = {"lora_alpha": config.lora_alpha, "use_dora": config.method == "dora", "task_type": "CAUSAL_LM"}
    return get_peft_model(model, LoraConfig(r=config.r, target_modules=targets, **fields))


def copy_into(model: PeftModel, tensors: dict[str, Tensor]) -> None:
    """Start values of ours into peft's model."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for key, tensor in tensors.items():
            parameters[peft_name(key)].copy_(tensor.T if key[-2:] in (".A", ".B") else tensor)


def peft_name(key: str) -> str:
    layer, _, name = key.rpartition(".")
    return f"base_model.model.{layer}.{NAMES[name]}"


def distance(ours: Tensor, reference: Tensor) -> float:
    return float((ours - reference).norm() / reference.norm())


@pytest.mark.parametrize("case", CASES)
def test_method_equals_peft_and_torch(case: str, begin, train_with_peft, tiny_base: Path, tiny_qwen: Path) -> None:
    base = str(tiny_qwen if "biases" in case else tiny_base)
    method = case.partition(",")[0]
    ours = begin(members=[f"cynic-{method}"], method=method, base_model=base, **CASES[case])
    quantization = ours.base.quantization
    model = peft_model(load(base, quantization=quantization, device="cpu").model, ours.config).train()
    start = ours.tensors()
    if method == "lora_fa":
        start |= ours.tensors(kind="frozen")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_B" in name)
    copy_into(model, start)
    losses = train_with_peft(model, ours.members[0])
    assert losses[-1] < losses[0] - 0.05, "nothing was learned, so this shows nothing"
    trained = ours.finish().tensors()
    theirs = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {peft_name(key) for key in trained} == set(theirs)
    for key, tensor in trained.items():
        reference = theirs[peft_name(key)].detach()
        assert distance(tensor, reference.T if key[-2:] in (".A", ".B") else reference) < 1e-4, key
        assert not torch.equal(tensor, start[key]), f"{key} never moved"
