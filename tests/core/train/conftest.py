"""Cohorts in training without a run around them, and a Qwen2 whose q, k and v have biases."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer
from torch import Tensor
from transformers import get_scheduler

from core.adapter import Adapter
from core.config import TrainConfig
from core.data.prompt import Encoded, Prompter
from core.data.read import read
from core.models.load import BaseModel, load
from core.registry import lookup
from core.train import METHODS
from core.train.cohort import Member, gather
from core.train.loop import Cohort
from core.train.training_bank import TrainingBank


@dataclass
class Training:
    """A cohort on a base model of its own."""

    base: BaseModel
    bank: TrainingBank
    cohort: Cohort
    members: list[Member]
    config: TrainConfig

    def tensors(self, adapter: int = 0, kind: str = "own") -> dict[str, Tensor]:
        """Copies of an adapter's tensors, or of the frozen ones, by '<layer>.<name>'."""
        found = {site.layer: site.own[adapter] if kind == "own" else site.frozen for site in self.bank.sites}
        return {f"{layer}.{name}": tensor.detach().clone() for layer, own in found.items() for name, tensor in own.items()}

    def finish(self) -> "Training":
        """Train to the end."""
        while self.cohort.live:
            self.cohort.step()
        return self

    def write(self, folder: Path, adapter: int = 0) -> Path:
        """The adapter's PEFT folder."""
        about = Adapter(self.members[adapter].name, {}, self.base.hub_name, {"role": "own", "method": self.config.method})
        return self.bank.method.write(self.bank.sites, adapter, about, folder, torch.float32)

    def logits(self, ids: Tensor) -> Tensor:
        """Of one row, with the first adapter, unpacked."""
        self.base.model.set_attn_implementation("sdpa")
        with torch.no_grad():
            return self.base.model(input_ids=ids).logits


@pytest.fixture
def begin(tiny_base: Path, tiny_data: Path) -> Callable[..., Training]:
    """`begin(method="dora", members=["cynic-dora"], **TrainConfig fields)`: a cohort at its start; all categories unless named."""

    def start(members: Sequence[str] | None = None, **fields: object) -> Training:
        given = {"data": str(tiny_data), "base_model": str(tiny_base), "r": 4, "learning_rate": 5e-3, "batch_size": 3}
        given |= {"target_modules": ("q_proj", "k_proj", "v_proj", "o_proj")}
        config = TrainConfig(**{**given, "epochs": 20, "max_steps": 30, "device": "cpu", **fields})
        method = lookup(METHODS, "tuning method", config.method).load()(config)
        base = load(config.base_model, quantization=method.quantization or config.quantization, precision=config.precision, device="cpu")
        found, _ = gather(config, read(config), Prompter(base.tokenizer, config.system_prompt, config.max_seq_length))
        chosen = [member for member in found if members is None or member.name in members]
        bank = TrainingBank(base.model, method, [member.name for member in chosen], config)
        return Training(base, bank, Cohort(base, bank, chosen, lambda _: None), chosen, config)

    return start


@pytest.fixture
def train_with_peft() -> Callable[..., list[float]]:
    """`train_with_peft(model, member, after_step)`: a plain loop around peft: padded batches, HF loss, clip_grad_norm_, AdamW."""
    return _train_with_peft


@pytest.fixture(scope="session")
def tiny_qwen(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Qwen2 (2 layers, hidden 64, biases in q, k and v) and the tokenizer of tiny_base."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("qwen") / "tiny-qwen"
    shutil.copytree(tiny_base, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json", "generation_config.json"))
    config = Qwen2Config(
        vocab_size=600,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(folder)
    return folder


def padded(rows: list[Encoded]) -> dict[str, Tensor]:
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), 3)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row.prompt + row.answer)
        labels[place, len(row.prompt) : len(row)] = torch.tensor(row.answer)
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def _train_with_peft(model: Any, member: Member, after_step: Callable[[int], None] = lambda _: None) -> list[float]:
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
        loss = model(**padded(member.batch(step))).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        after_step(step)
    return losses
