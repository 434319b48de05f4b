"""The adapter bank against dense float64 weights, on a tiny random Llama."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from core import adapter
from core.adapter import Adapter, Factor
from core.bank import AdapterBank
from core.errors import UserError

IDS = torch.randint(5, 400, (3, 11), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def two(peft_adapter: Callable[..., Path]) -> list[Adapter]:
    """Adapters that peft wrote: unequal ranks, targets, alphas; the second with rsLoRA."""
    folders = [
        peft_adapter("one", seed=1, r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
        peft_adapter("two", seed=2, r=7, lora_alpha=3, target_modules=["v_proj", "down_proj"], use_rslora=True),
    ]
    return [adapter.read(folder) for folder in folders]


def dense_logits(base: Path, adapters: list[Adapter], weights: list[float]) -> torch.Tensor:
    """Logits of a float64 model whose weights have the deltas written in."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64)
    modules = dict(model.named_modules())
    with torch.no_grad():
        for weight, each in zip(weights, adapters, strict=True):
            for layer, factor in each.factors.items():
                modules[layer].weight += weight * factor.scale * factor.B.double() @ factor.A.double()
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.3, 0.5], [-1.2, 2.0]])
def test_any_weights_equal_dense_weights(tiny_base: Path, two: list[Adapter], weights: list[float]) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    bank = AdapterBank.load(model, two)
    with torch.no_grad(), bank.mixing(torch.tensor(weights)):
        ours = model(input_ids=IDS).logits
    assert torch.allclose(ours.double(), dense_logits(tiny_base, two, weights), atol=1e-4)


def test_each_row_has_its_own_weights(tiny_base: Path, two: list[Adapter]) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    bank = AdapterBank.load(model, two)
    shares = [[0.0, 0.0], [1.0, 0.0], [0.4, -0.6]]
    with torch.no_grad(), bank.mixing(torch.tensor(shares)):
        ours = model(input_ids=IDS).logits
    for row, weights in enumerate(shares):
        assert torch.allclose(ours[row].double(), dense_logits(tiny_base, two, weights)[row], atol=1e-4)


def test_outside_of_a_mixing_and_after_detach_the_base_is_untouched(tiny_base: Path, two: list[Adapter]) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    with torch.no_grad():
        before = model(input_ids=IDS).logits
        bank = AdapterBank.load(model, two)
        assert torch.equal(model(input_ids=IDS).logits, before)
        bank.detach()
        with bank.mixing(torch.tensor([1.0, 1.0])):
            assert torch.equal(model(input_ids=IDS).logits, before)


def test_a_router_gives_each_token_its_own_weights(tiny_base: Path, two: list[Adapter]) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    bank = AdapterBank.load(model, two)
    layer = model.model.layers[0].self_attn.v_proj
    x = torch.randn(3, 5, 64)
    weights = torch.randn(3, 5, 2)
    with torch.no_grad(), bank.mixing(lambda name, seen: weights):
        routed = layer(x)
    with torch.no_grad(), bank.mixing(weights):
        assert torch.equal(layer(x), routed)
    for row in range(3):
        for token in range(5):
            with torch.no_grad(), bank.mixing(weights[row, token]):
                alone = layer(x[row : row + 1, token : token + 1])
            assert torch.allclose(alone[0, 0], routed[row, token], atol=1e-5)


def test_an_adapter_of_another_base_is_refused(tiny_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    layer = "model.layers.0.self_attn.q_proj"
    wrong_shape = Adapter("wide", {layer: Factor(torch.ones(2, 96), torch.ones(96, 2), 1.0)}, "")
    wrong_layer = Adapter("deep", {"model.layers.9.self_attn.q_proj": Factor(torch.ones(2, 64), torch.ones(64, 2), 1.0)}, "")
    with pytest.raises(UserError, match="'wide' does not fit.*96 to 96.*64 to 64"):
        AdapterBank.load(model, [wrong_shape])
    with pytest.raises(UserError, match="'deep' changes layer model.layers.9"):
        AdapterBank.load(model, [wrong_layer])
