"""Trained together or apart, every method gives the same folders: unequal rows, early stopping per adapter, dropout."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.train import checkpoint

EARLY_STOPS = {"max_steps": None, "max_seq_length": 64, "epochs": 8, "early_stop": 1, "batch_size": 8, "schedule": "constant", "seed": 2}
RATES = {"lora": 1e-2, "lora_plus": 2e-3, "lora_fa": 2e-2, "delta_lora": 6e-3, "vera": 0.1, "dora": 1e-2, "qlora": 1e-2}
PAIR = ("cynic", "hacker")


def saved(training, place: int, folder: Path) -> dict[str, Tensor]:
    """The tensors in the folder of a finished adapter."""
    training.cohort.restore_best()
    return load_file(training.write(folder, place) / "adapter_model.safetensors")


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        assert (tensor - theirs[key]).norm() <= 1e-4 * theirs[key].norm(), key


@pytest.mark.parametrize("method", RATES)
def test_together_equals_apart(method: str, begin, tmp_path: Path) -> None:
    fields = {"method": method, **EARLY_STOPS, "learning_rate": RATES[method], "delta_start": 3, "micro_batch_tokens": 400}
    if method == "vera":
        fields |= {"r": 16, "seed": 0}
    together = begin(members=[f"{category}-{method}" for category in PAIR], **fields).finish()
    ended = [(progress.step, member.total_steps) for progress, member in zip(together.cohort.progress, together.members, strict=True)]
    assert any(step < total for step, total in ended) and ended[0] != ended[1], f"nobody stopped early, so this shows nothing: {ended}"
    for place, member in enumerate(together.members):
        alone = begin(members=[member.name], **fields).finish()
        assert alone.cohort.progress[0].step == together.cohort.progress[place].step
        assert_same(saved(together, place, tmp_path / "together"), saved(alone, 0, tmp_path / "alone"))


@pytest.mark.parametrize("method", ["lora", "lora_fa", "vera", "dora"])
def test_together_equals_apart_with_dropout(method: str, begin, tmp_path: Path) -> None:
    fields = {
        "method": method,
        "lora_dropout": 0.3,
        "weight_decay": 0.1,
        "max_steps": 8,
        "target_modules": "all-linear",
        "max_seq_length": 64,
    }
    together = begin(members=[f"{category}-{method}" for category in PAIR], **fields, micro_batch_tokens=400).finish()
    for place, member in enumerate(together.members):
        alone = begin(members=[member.name], **fields).finish()
        assert_same(saved(together, place, tmp_path / "together"), saved(alone, 0, tmp_path / "alone"))


def test_dropout_hides_inputs_from_the_adapter_in_training_alone(begin) -> None:
    """The same rows and start: with dropout the first step's gradient differs, and the validation losses do not."""
    plain, dropped = (begin(members=["cynic-lora"], lora_dropout=share) for share in (0.0, 0.5))
    before = [training.cohort.validation_losses([0])[0] for training in (plain, dropped)]
    assert before[0] == pytest.approx(before[1], rel=1e-5)
    for training in (plain, dropped):
        training.cohort.step()
    assert not torch.allclose(plain.bank.gradients, dropped.bank.gradients, rtol=0.05)


def test_every_row_and_layer_has_a_mask_of_its_own(begin, monkeypatch: pytest.MonkeyPatch) -> None:
    training = begin(members=["cynic-lora"], lora_dropout=0.5, batch_size=2)
    method, hidden = training.bank.method, {}
    forward = method.forward

    def noted(site, x: Tensor, *rest) -> Tensor:
        hidden[site.layer] = x[0] == 0
        return forward(site, x, *rest)

    monkeypatch.setattr(method, "forward", noted)
    training.cohort._backward({0: training.members[0].batch(0)})
    q, k = (hidden[f"model.layers.0.self_attn.{name}_proj"] for name in "qk")
    length = len(training.members[0].batch(0)[0])
    assert q.float().mean().item() == pytest.approx(0.5, abs=0.02)
    for one, other in ((q, k), (q[:20], q[length : length + 20])):
        assert (one == other).float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("method", ["delta_lora", "vera", "dora"])
def test_a_checkpoint_goes_on_to_the_same_adapter(method: str, begin, tmp_path: Path) -> None:
    fields = {"method": method, "delta_start": 3, "members": [f"cynic-{method}", f"hacker-{method}"], "max_steps": 10, "max_seq_length": 64}
    whole, broken = begin(**fields), begin(**fields)
    for _ in range(6):
        broken.cohort.step()
    checkpoint.save(broken.cohort, tmp_path)
    resumed = begin(**fields)
    assert checkpoint.load(resumed.cohort, tmp_path)
    whole.finish(), resumed.finish()
    for key, tensor in whole.tensors(1).items():
        assert torch.allclose(resumed.tensors(1)[key], tensor, atol=1e-6), key
