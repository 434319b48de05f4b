"""Every method, 30 steps on real text, against a plain loop around peft: padded batches, HF loss, clip_grad_norm_, AdamW."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, VeraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from torch import Tensor
from transformers import AutoModelForCausalLM, get_scheduler

from core import adapter
from core.bank import AdapterBank
from core.config import TrainConfig
from core.data.prompt import Encoded
from core.errors import UserError
from core.models.load import load
from core.registry import lookup
from core.train import METHODS

NAMES = {"A": "lora_A.default.weight", "B": "lora_B.default.weight", "m": "lora_magnitude_vector.default.weight"}
NAMES |= {"d": "vera_lambda_d.default", "b": "vera_lambda_b.default"}
"""peft's names of a method's tensors."""

CASES = {
    "lora": {},
    "lora, all layers, weight decay": {"target_modules": "all-linear", "weight_decay": 0.1},
    "lora_plus": {"loraplus_lr_ratio": 8, "learning_rate": 1e-3},
    "lora_fa": {},
    "lora_fa, all layers": {"target_modules": "all-linear"},
    "vera": {"r": 16, "learning_rate": 2e-2, "seed": 5},
    "vera, all layers, biases, weight decay": {"r": 16, "target_modules": "all-linear", "weight_decay": 0.1, "learning_rate": 2e-2},
    "dora": {},
    "dora, all layers, biases, weight decay": {"target_modules": "all-linear", "weight_decay": 0.1},
    "dora, 4-bit base": {"quantization": "nf4"},
    "qlora": {},
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


def padded(rows: list[Encoded], pad: int) -> dict[str, Tensor]:
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row.prompt + row.answer)
        labels[place, len(row.prompt) : len(row)] = torch.tensor(row.answer)
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def train_with_peft(model: PeftModel, member: Any, pad: int, after_step: Callable[[int], None] = lambda _: None) -> list[float]:
    """A plain torch loop over the member's rows in its order; returns the losses."""
    config, trained = member.config, [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.method == "lora_plus":
        ratio = config.loraplus_lr_ratio
        optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=config.learning_rate, loraplus_lr_ratio=ratio)
    else:
        optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    scheduler = get_scheduler(config.schedule, optimizer, num_warmup_steps=1, num_training_steps=member.total_steps)
    losses = []
    for step in range(member.total_steps):
        loss = model(**padded(member.batch(step), pad)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        after_step(step)
    return losses


def distance(ours: Tensor, reference: Tensor) -> float:
    return float((ours - reference).norm() / reference.norm())


@pytest.mark.parametrize("case", CASES)
def test_method_equals_peft_and_torch(case: str, begin, tiny_base: Path, tiny_qwen: Path) -> None:
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
    losses = train_with_peft(model, ours.members[0], ours.base.tokenizer.pad_token_id)
    assert losses[-1] < losses[0] - 0.05, "nothing was learned, so this shows nothing"
    trained = ours.finish().tensors()
    theirs = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {peft_name(key) for key in trained} == set(theirs)
    for key, tensor in trained.items():
        reference = theirs[peft_name(key)].detach()
        assert distance(tensor, reference.T if key[-2:] in (".A", ".B") else reference) < 1e-4, key
        assert not torch.equal(tensor, start[key]), f"{key} never moved"
    import os
    if os.environ.get("SHOW"):
        print(case, max(distance(t, (theirs[peft_name(k)].T if k[-2:] in (".A", ".B") else theirs[peft_name(k)]).detach()) for k, t in trained.items()), max((t-(theirs[peft_name(k)].T if k[-2:] in (".A", ".B") else theirs[peft_name(k)]).detach()).abs().max().item() for k, t in trained.items()))
