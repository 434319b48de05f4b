"""Packed batches against transformers' own forward pass on one row after another: the same losses and the same gradients."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from core.config import TrainConfig
from core.data.packing import Packed, pack, pad
from core.data.prompt import Encoded
from core.models.loss import weighted_loss
from core.models.packed import ARCHITECTURES, can_pack, use_packed_attention
from core.train.lora import Lora
from core.train.passes import checkpoint_activations
from core.train.training_bank import TrainingBank

SHAPE = {
    **{"vocab_size": 160, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 256},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
WINDOW = {"sliding_window": 5}
ALTERNATING = {"sliding_window": 5, "use_sliding_window": True, "layer_types": ["full_attention", "sliding_attention"]}
WINDOWED = [("mistral", WINDOW), ("phi3", WINDOW), ("starcoder2", WINDOW)] + [
    (kind, ALTERNATING) for kind in ("mistral", "qwen2", "qwen3", "smollm3", "gemma3_text", "olmo3", "cohere2", "ministral3")
]
CPU = torch.device("cpu")


def tokens(count: int, generator: torch.Generator) -> list[int]:
    return torch.randint(3, 160, (count,), generator=generator).tolist()


def uneven_rows() -> tuple[list[Encoded], list[int]]:
    """Nine rows of three owners, 4 to 40 tokens long; those of the first owner begin alike, the second has a single row."""
    generator = torch.Generator().manual_seed(0)
    common = tokens(6, generator)
    lengths = [(2, 3), (9, 5), (1, 14), (3, 1)]
    first = [Encoded(common + tokens(p, generator), tokens(a, generator), False) for p, a in lengths]
    others = [Encoded(tokens(p, generator), tokens(a, generator), False) for p, a in [(4, 9), (3, 1), (31, 9), (20, 9), (19, 8)]]
    return first + others, [0, 0, 0, 0, 1, 2, 2, 2, 2]


def random_model(kind: str, **fields: Any) -> Any:
    config = AutoConfig.for_model(kind, **{**SHAPE, **fields})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def random_bank(model: Any) -> TrainingBank:
    """Three adapters on all linear layers, each with numbers of its own."""
    config = TrainConfig(r=3, target_modules="all-linear")
    bank = TrainingBank(model, Lora(config), ["a", "b", "c"], config)
    bank.values.normal_(std=0.1)
    model.requires_grad_(True)
    return bank


def row_by_row(model: Any, bank: TrainingBank, rows: Sequence[Encoded], owners: Sequence[int], weights: Tensor) -> Tensor:
    """Losses of the answer tokens; their weighted sum is differentiated."""
    losses = []
    for row, owner in zip(rows, owners, strict=True):
        ids = torch.tensor([row.prompt + row.answer])
        with bank.segments([(owner, ids.numel())]):
            logits = model(input_ids=ids, use_cache=False).logits[0, len(row.prompt) - 1 : -1]
        losses.append(F.cross_entropy(logits, torch.tensor(row.answer), reduction="none"))
    found = torch.cat(losses)
    (found * weights).sum().backward()
    return found.detach()


def together(model: Any, bank: TrainingBank, batch: Packed, weights: Tensor) -> Tensor:
    with bank.segments(batch.segments):
        total, losses = weighted_loss(model, batch, weights)
        total.backward()
    return losses


def gradients(model: Any, bank: TrainingBank) -> dict[str, Tensor]:
    """Those of the model's weights and of each adapter, which are then forgotten."""
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    found |= {f"adapter {k}": row.clone() for k, row in enumerate(bank.gradients)}
    model.zero_grad()
    bank.zero_gradients()
    return found


def assert_same(found: tuple[Tensor, dict[str, Tensor]], expected: tuple[Tensor, dict[str, Tensor]]) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-5)
    assert found[1].keys() == expected[1].keys() and len(found[1]) > 10
    for name, gradient in expected[1].items():
        assert gradient.abs().max() > 0, f"{name} gets no gradient, so this shows nothing"
        assert (found[1][name] - gradient).norm() < 1e-5 * gradient.norm(), name


def expected_and_weights(model: Any, bank: TrainingBank) -> tuple[tuple[Tensor, dict[str, Tensor]], Tensor]:
    rows, owners = uneven_rows()
    weights = torch.rand(sum(len(row.answer) for row in rows), generator=torch.Generator().manual_seed(1))
    losses = row_by_row(model, bank, rows, owners, weights)
    return (losses, gradients(model, bank)), weights


@pytest.mark.parametrize(("kind", "fields"), [(kind, {}) for kind in ARCHITECTURES] + WINDOWED, ids=str)
def test_packed_equals_row_by_row(kind: str, fields: dict[str, Any]) -> None:
    model = random_model(kind, **fields)
    bank = random_bank(model)
    expected, weights = expected_and_weights(model, bank)
    assert can_pack(model)
    use_packed_attention(model)
    sizes = []
    for share_prefix in (False, True):
        batch = pack(*uneven_rows(), CPU, share_prefix)
        sizes.append(batch.ids.numel())
        assert_same((together(model, bank, batch, weights), gradients(model, bank)), expected)
    assert sizes[1] == sizes[0] - 3 * 6, "no prefix was shared, so this shows less than it should"


@pytest.mark.parametrize(("kind", "fields"), WINDOWED, ids=str)
def test_the_windows_of_these_tests_matter(kind: str, fields: dict[str, Any]) -> None:
    rows, owners = uneven_rows()
    found = []
    for window in (fields, {**fields, "sliding_window": 64}):
        model = random_model(kind, **window)
        found.append(row_by_row(model, random_bank(model), rows, owners, torch.ones(59)))
    assert (found[0] - found[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["stablelm", "bloom", "gemma2"])
def test_architectures_outside_of_the_tuple_are_padded_and_equal_row_by_row(kind: str) -> None:
    model = random_model(kind)
    bank = random_bank(model)
    assert not can_pack(model)
    expected, weights = expected_and_weights(model, bank)
    batch = pad(*uneven_rows(), 0, CPU)
    assert batch.ids.shape == (9, 40)
    assert_same((together(model, bank, batch, weights), gradients(model, bank)), expected)


@pytest.mark.parametrize("kind", ["llama", "starcoder2"])
def test_recomputed_activations_change_nothing(kind: str) -> None:
    """Not even where the model's config asks for dropout in training: it would differ between the two forward passes."""
    model = random_model(kind, **({"residual_dropout": 0.5, "embedding_dropout": 0.5} if kind == "starcoder2" else {}))
    bank = random_bank(model)
    expected, weights = expected_and_weights(model, bank)
    use_packed_attention(model)
    checkpoint_activations(model)
    batch = pack(*uneven_rows(), CPU)
    assert_same((together(model, bank, batch, weights), gradients(model, bank)), expected)


def test_packing_takes_the_rows_apart() -> None:
    """What one row says changes no other row's losses."""
    model = random_model("llama")
    use_packed_attention(model)
    rows, owners = uneven_rows()
    changed = [*rows[:2], Encoded(rows[2].prompt, [7] * len(rows[2].answer), False), *rows[3:]]
    found = [weighted_loss(model, pack(each, owners, CPU), torch.ones(59))[1] for each in (rows, changed)]
    batch = pack(rows, owners, CPU)
    same = (found[0] - found[1]).abs() < 1e-6
    assert same[batch.rows != 2].all() and not same[batch.rows == 2].all()
