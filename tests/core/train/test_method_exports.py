"""What a method trained, its PEFT folder in peft, and its factors in the bank give the same logits; other precisions, autocast."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor

from core import adapter
from core.bank import AdapterBank
from core.config import TrainConfig
from core.errors import UserError
from core.models.load import load
from core.train import METHODS
from core.train.passes import checkpoint_activations
from core.train.vera import Vera

ADAPTERS = [method for method in METHODS if method != "full"]
FIELDS = {"target_modules": "all-linear", "learning_rate": 2e-2, "max_steps": 8, "delta_start": 2, "loraplus_lr_ratio": 2}
IDS = torch.randint(5, 400, (1, 33), generator=torch.Generator().manual_seed(0))


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits.float()


@pytest.mark.parametrize("method", ADAPTERS)
def test_folder_gives_the_same_logits_in_peft_and_in_the_bank(method: str, begin, tiny_qwen: Path, tmp_path: Path) -> None:
    training = begin(members=[f"cynic-{method}"], method=method, base_model=str(tiny_qwen), **FIELDS).finish()
    ours, folder = training.logits(IDS), training.write(tmp_path / "made")
    training.bank.detach()
    untouched = logits(training.base.model)
    assert (ours - untouched).abs().max() > 0.1, "the adapter changes nothing, so this shows nothing"
    theirs = PeftModel.from_pretrained(load(str(tiny_qwen), quantization=training.base.quantization, device="cpu").model, folder)
    assert (logits(theirs) - ours).abs().max() < 1e-4
    assert json.loads((folder / "run.json").read_text())["method"] == method
    if method == "dora":
        with pytest.raises(UserError, match="DoRA"):
            adapter.read(folder)
        return
    bank = AdapterBank.load(training.base.model, [adapter.read(folder)])
    with bank.mixing(torch.ones(1)):
        assert (logits(training.base.model) - ours).abs().max() < 1e-4
    for site in training.bank.sites:
        factor, read = training.bank.method.factors(site, 0), adapter.read(folder).factors[site.layer]
        assert torch.allclose(factor.scale * factor.B @ factor.A, read.scale * read.B @ read.A, atol=1e-6)


@pytest.mark.parametrize("method", ADAPTERS)
def test_a_bf16_base_trains_as_the_fp32_one_does(method: str, begin, tiny_qwen: Path, tmp_path: Path) -> None:
    """To the precision of bf16; the trained tensors stay fp32."""
    fields = {"method": method, "base_model": str(tiny_qwen), **FIELDS, "learning_rate": 5e-3, "max_steps": 6}
    full, half = (begin(members=[f"cynic-{method}"], precision=precision, **fields) for precision in ("fp32", "bf16"))
    assert half.base.model.dtype == torch.bfloat16
    for _ in range(6):
        expected, found = full.cohort.step()[0], half.cohort.step()[0]
        assert found.loss == pytest.approx(expected.loss, rel=0.01)
        assert found.grad_norm == pytest.approx(expected.grad_norm, rel=0.1)
    assert {tensor.dtype for tensor in load_file(half.write(tmp_path / "made") / adapter.WEIGHTS).values()} == {torch.float32}


@pytest.mark.parametrize("method", ADAPTERS)
def test_under_autocast_in_a_loop_of_ones_own(method: str, begin, tiny_qwen: Path) -> None:
    """Gradients of plain torch with and without autocast differ by its precision alone."""
    training = begin(members=[f"cynic-{method}"], method=method, base_model=str(tiny_qwen), **FIELDS)
    training.cohort.step()
    training.cohort.step()
    training.base.model.set_attn_implementation("sdpa")
    gradients = []
    for enabled in (False, True):
        training.bank.zero_gradients()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            training.base.model(input_ids=IDS, labels=IDS).loss.backward()
        gradients.append(training.bank.gradients.clone())
    assert gradients[0].norm() > 0
    assert (gradients[1] - gradients[0]).norm() < 0.05 * gradients[0].norm()


def test_gradients_pass_a_4_bit_base_after_validation(begin) -> None:
    """bitsandbytes repacks 4-bit layers on some CPUs when it sees no gradient; what passes through them then gets none."""
    training = begin(members=["cynic-qlora"], method="qlora")
    gradients = []
    for _ in range(2):
        training.cohort._backward({0: training.members[0].batch(0)})
        gradients.append(training.bank.gradients.clone())
        training.cohort.validation_losses([0])
    assert gradients[0].norm() > 0 and torch.equal(*gradients)


def test_vera_that_could_not_learn_is_refused() -> None:
    with pytest.raises(UserError, match="vera_d_initial=0 .* neither ever gets a gradient"):
        Vera(TrainConfig(method="vera", vera_d_initial=0))


@pytest.mark.parametrize("method", ADAPTERS)
def test_recomputed_activations_give_the_same_gradients(method: str, begin, tiny_qwen: Path) -> None:
    training = begin(members=[f"cynic-{method}"], method=method, base_model=str(tiny_qwen), lora_dropout=0.0, **FIELDS)
    training.cohort.step()
    gradients = []
    for change in (lambda _: None, checkpoint_activations):
        change(training.base.model)
        training.cohort._backward({0: training.members[0].batch(0)})
        gradients.append(training.bank.gradients.clone())
    assert training.base.model.is_gradient_checkpointing and gradients[0].norm() > 0
    assert (gradients[1] - gradients[0]).norm() < 1e-5 * gradients[0].norm()
