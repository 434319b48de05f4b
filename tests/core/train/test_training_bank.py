"""The training bank: its start, its buffers, and that it leaves the model alone until an adapter learns."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from core.config import TrainConfig
from core.train.lora import Lora, LoraPlus
from core.train.training_bank import TrainingBank

IDS = torch.randint(5, 400, (3, 11), generator=torch.Generator().manual_seed(1))
CONFIG = TrainConfig(r=4, lora_alpha=8, target_modules=("q_proj", "down_proj"), seed=3)


def bank(model: object, *names: str, config: TrainConfig = CONFIG) -> TrainingBank:
    return TrainingBank(model, Lora(config), names, config)


def test_a_new_bank_changes_nothing_and_starts_alike_for_every_size(tiny_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    with torch.no_grad():
        before = model(input_ids=IDS).logits
        alone = bank(model, "a")
        assert torch.equal(model(input_ids=IDS).logits, before)
        alone.detach()
        together = bank(model, "b", "a", "c")
        assert torch.equal(together.values[1], alone.values[0])
        with together.segments([(0, 11), (2, 22)]):
            assert torch.equal(model(input_ids=IDS).logits, before)
    start = alone.sites[0].own[0]["A"]
    assert start.abs().max() <= 1 / 8, "A starts uniform within 1/sqrt(in)"


def test_tensors_rows_and_gradients_are_views_of_one_buffer(tiny_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    two = bank(model, "a", "b")
    with two.segments([(1, IDS.numel())]):
        model(input_ids=IDS, labels=IDS).loss.backward()
    assert two.gradients[0].abs().sum() == 0 < two.gradients[1].abs().sum()
    assert sum(parameter.numel() for parameter in two.parameters(1)) == two.trained == sum(row.numel() for row, _ in two.rows(1))
    with torch.no_grad():
        two.rows(1)[0][0].fill_(7)
    assert all((parameter == 7).all() for parameter in two.parameters(1))


def test_clipping_is_per_adapter_and_equals_torch(tiny_base: Path) -> None:
    two = bank(AutoModelForCausalLM.from_pretrained(tiny_base), "a", "b")
    two.gradients.copy_(torch.randn(two.gradients.shape, generator=torch.Generator().manual_seed(0)) * torch.tensor([[3.0], [1e-4]]))
    expected = two.gradients.clone()
    norms = [torch.nn.utils.get_total_norm([row]) for row in expected]
    for row, norm in zip(expected, norms, strict=True):
        parameter = torch.nn.Parameter(torch.zeros_like(row))
        parameter.grad = row
        torch.nn.utils.clip_grads_with_norm_([parameter], 1.0, norm)
    found = two.clip([0, 1], 1.0, [1.0, 1.0])
    assert torch.allclose(torch.tensor(found), torch.stack(norms))
    assert torch.allclose(two.gradients, expected)


def test_lora_plus_gives_b_its_own_rate(tiny_base: Path) -> None:
    plus = TrainingBank(AutoModelForCausalLM.from_pretrained(tiny_base), LoraPlus(CONFIG), ["a"], CONFIG)
    (first, slow), (second, fast) = plus.rows(0)
    assert (slow, fast) == (1.0, 16.0)
    assert second.abs().sum() == 0 < first.abs().sum(), "A starts random, B zero"


def test_keep_and_restore(tiny_base: Path) -> None:
    two = bank(AutoModelForCausalLM.from_pretrained(tiny_base), "a", "b")
    start = two.values.clone()
    two.keep(0)
    two.values.add_(1)
    two.restore(0)
    assert torch.equal(two.values[0], start[0])
    assert not torch.equal(two.values[1], start[1])
