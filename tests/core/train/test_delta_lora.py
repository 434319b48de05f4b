"""Delta-LoRA against the paper's algorithm taken literally: W is really written after each step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from core import adapter
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.errors import UserError
from core.models.load import load, load_tokenizer
from core.train.cohort import gather
from core.train.delta_lora import DeltaLora

DELTA = {"method": "delta_lora", "delta_lambda": 2.0, "delta_start": 5}
IDS = torch.randint(5, 400, (1, 33), generator=torch.Generator().manual_seed(0))


class Literal:
    """A peft LoRA whose W is written: W += lambda s (B_{t+1} A_{t+1} - B_t A_t) after each step t > K, t from 0."""

    def __init__(self, model: Any, config: TrainConfig, start: dict[str, Tensor]) -> None:
        targets = "all-linear" if config.target_modules == ("all-linear",) else list(config.target_modules)
        lora = LoraConfig(r=config.r, lora_alpha=config.lora_alpha, target_modules=targets, task_type="CAUSAL_LM")
        self.model, self.config = get_peft_model(model, lora), config
        self.layers = {name: module for name, module in self.model.base_model.model.named_modules() if hasattr(module, "lora_A")}
        with torch.no_grad():
            for name, layer in self.layers.items():
                layer.lora_A.default.weight.copy_(start[f"{name}.A"].T)
        self.products = self.now()
        self.written = 0

    @torch.no_grad()
    def now(self) -> dict[str, Tensor]:
        return {name: layer.lora_B.default.weight @ layer.lora_A.default.weight for name, layer in self.layers.items()}

    @torch.no_grad()
    def after_step(self, t: int) -> None:
        before, self.products = self.products, self.now()
        if t > self.config.delta_start:
            self.written += 1
            for name, layer in self.layers.items():
                change = self.products[name] - before[name]
                layer.base_layer.weight += self.config.delta_lambda * self.config.lora_alpha / self.config.r * change

    def logits(self) -> Tensor:
        with torch.no_grad():
            return self.model(input_ids=IDS).logits


def same(ours: dict[str, Tensor], literal: Literal) -> float:
    """Largest distance of an A or B."""
    found = []
    for name, layer in literal.layers.items():
        for key, reference in (("A", layer.lora_A.default.weight.T), ("B", layer.lora_B.default.weight.T)):
            found.append(((ours[f"{name}.{key}"] - reference).norm() / reference.norm()).item())
    return max(found)


def exported(base: str, folder: Path) -> Tensor:
    with torch.no_grad():
        return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()(input_ids=IDS).logits


WIDE = {"target_modules": "all-linear", "weight_decay": 0.1, "base_model": "qwen"}


@pytest.mark.parametrize("fields", [{}, WIDE], ids=["q,k,v,o", "all, biases"])
def test_telescoped_equals_writing_w(fields: dict, begin, train_with_peft, tiny_base: Path, tiny_qwen: Path, tmp_path: Path) -> None:
    base = str(tiny_qwen if fields.get("base_model") else tiny_base)
    ours = begin(members=["cynic-delta_lora"], **{**DELTA, **fields, "base_model": base})
    plain = AutoModelForCausalLM.from_pretrained(base)
    literal = Literal(AutoModelForCausalLM.from_pretrained(base), ours.config, ours.tensors())
    train_with_peft(literal.model, ours.members[0], literal.after_step)
    ours.finish()
    assert literal.written == 30 - 6
    assert same(ours.tensors(), literal) < 1e-4
    folder, expected = ours.write(tmp_path / "made"), literal.logits()
    assert adapter.read(folder).rank == 2 * ours.config.r
    assert (ours.logits(IDS) - expected).abs().max() < 1e-4
    assert (exported(base, folder) - expected).abs().max() < 1e-4
    for name, layer in literal.layers.items():
        if name.endswith("q_proj"):
            layer.base_layer.weight.data.copy_(plain.get_submodule(name).weight)
    assert (literal.logits() - expected).abs().max() > 0.01, "W hardly changed, so this shows nothing"


def test_a_4_bit_base_equals_writing_into_the_weights_that_it_stands_for(begin, train_with_peft, tiny_base: Path) -> None:
    ours = begin(members=["cynic-delta_lora"], **DELTA, quantization="nf4")
    unpacked, packed = load(str(tiny_base), device="cpu").model, dict(ours.base.model.named_modules())
    with torch.no_grad():
        for name, module in unpacked.named_modules():
            if getattr(getattr(packed[name], "weight", None), "quant_state", None):
                module.weight.copy_(dequantize_4bit(packed[name].weight.data, packed[name].weight.quant_state))
    literal = Literal(unpacked, ours.config, ours.tensors())
    train_with_peft(literal.model, ours.members[0], literal.after_step)
    assert same(ours.finish().tensors(), literal) < 1e-4
    assert (ours.logits(IDS) - literal.logits()).abs().max() < 1e-4


@pytest.mark.parametrize(("fields", "rank"), [({"max_steps": 6}, 4), ({"max_steps": 7}, 8), ({"max_steps": 9, "delta_lambda": 0}, 4)])
def test_w_first_changes_in_step_k_plus_2(fields: dict, rank: int, begin, tiny_base: Path, tmp_path: Path) -> None:
    """Before it, and without lambda, it is plain LoRA, to the last number, and exported at rank r."""
    ours = begin(members=["cynic-delta_lora"], **{**DELTA, **fields}).finish()
    lora = begin(members=["cynic-lora"], method="lora", max_steps=fields["max_steps"]).finish()
    assert adapter.read(ours.write(tmp_path / "made")).rank == rank
    close = [torch.allclose(ours.tensors()[key], tensor, atol=1e-6) for key, tensor in lora.tensors().items()]
    assert all(close)
    assert torch.allclose(ours.logits(IDS), lora.logits(IDS), atol=1e-5) == (rank == 4)


def test_what_w_gained_is_kept_and_put_back_with_the_factors(begin) -> None:
    ours = begin(members=["cynic-delta_lora"], **DELTA)
    for _ in range(3):
        ours.cohort.step()
    ours.bank.keep(0)
    early = ours.logits(IDS)
    ours.base.model.set_attn_implementation("lyceum_packed")
    for _ in range(6):
        ours.cohort.step()
    late = ours.logits(IDS)
    ours.bank.restore(0)
    assert (late - early).abs().max() > 1e-2
    assert torch.equal(ours.logits(IDS), early)


@pytest.mark.parametrize(("steps", "told"), [(6, True), (7, False)])
def test_a_run_too_short_for_w_to_change_is_told(steps: int, told: bool, tiny_base: Path, tiny_data: Path) -> None:
    config = TrainConfig(data=str(tiny_data), base_model=str(tiny_base), max_steps=steps, batch_size=2, **DELTA)
    _, notes = gather(config, read(config), Prompter(load_tokenizer(str(tiny_base))))
    assert any("3 of 3 adapters will be plain LoRA: they train for at most 6 steps" in note for note in notes) == told


def test_dropout_is_refused() -> None:
    with pytest.raises(UserError, match="lora_dropout=0.1 can't go with method=delta_lora.*lora_dropout=0"):
        DeltaLora(TrainConfig(method="delta_lora", lora_dropout=0.1))
