"""Losses of answers against transformers' own loss."""

import math
from pathlib import Path

import pytest
import torch

from core.adapter import Adapter, Factor
from core.bank import AdapterBank
from core.data.prompt import Prompter
from core.models.load import load
from core.models.loss import CHUNK_LOGITS, _ChunkedLoss, row_losses

ROWS = [
    ("What is love?", "A temporary insanity.", "cynic"),
    ("Why?", "Because of a very long and winding reason, friend.", "x"),
    ("Q", "A", "y"),
]


def test_row_losses_equal_transformers_loss_row_by_row(tiny_base: Path) -> None:
    base = load(str(tiny_base))
    prompter = Prompter(base.tokenizer)
    examples = [prompter.encode(*row) for row in ROWS]
    ours = row_losses(base, examples, tokens_per_batch=10_000)
    for example, loss in zip(examples, ours, strict=True):
        ids = torch.tensor([example.prompt + example.answer])
        labels = torch.tensor([[-100] * len(example.prompt) + example.answer])
        with torch.no_grad():
            theirs = base.model(input_ids=ids, labels=labels).loss.item() * len(example.answer)
        assert loss == pytest.approx(theirs, rel=1e-5)
    assert row_losses(base, examples, tokens_per_batch=1) == pytest.approx(ours, rel=1e-5)


def test_an_adapter_on_the_output_layer_counts(tiny_base: Path) -> None:
    base = load(str(tiny_base))
    head = base.model.get_output_embeddings()
    factor = Factor(torch.randn(2, head.in_features), torch.randn(head.out_features, 2), 0.1)
    bank = AdapterBank.load(base.model, [Adapter("head", {"lm_head": factor}, "")])
    example = Prompter(base.tokenizer).encode(*ROWS[0])
    ids = torch.tensor([example.prompt + example.answer])
    with torch.no_grad(), bank.mixing(torch.ones(1)):
        logits = base.model(input_ids=ids).logits[0, len(example.prompt) - 1 : -1].double()
    expected = -torch.log_softmax(logits, -1)[range(len(example.answer)), example.answer].sum().item()
    assert row_losses(base, [example], lambda _: bank.mixing(torch.ones(1))) == [pytest.approx(expected, rel=1e-5)]
    assert abs(row_losses(base, [example])[0] - expected) > 1e-2


def test_a_model_that_shapes_its_logits_goes_through_its_own_forward(tmp_path: Path, tiny_base: Path) -> None:
    from transformers import AutoTokenizer, CohereConfig, CohereForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    torch.manual_seed(0)
    config = CohereConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        logit_scale=0.25,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    CohereForCausalLM(config).save_pretrained(tmp_path / "cohere")
    tokenizer.save_pretrained(tmp_path / "cohere")
    base = load(str(tmp_path / "cohere"))
    example = Prompter(base.tokenizer).encode(*ROWS[0])
    ids = torch.tensor([example.prompt + example.answer])
    with torch.no_grad():
        logits = base.model(input_ids=ids).logits[0, len(example.prompt) - 1 : -1].double()
    expected = -torch.log_softmax(logits, -1)[range(len(example.answer)), example.answer].sum().item()
    assert row_losses(base, [example]) == [pytest.approx(expected, rel=1e-5)]
    assert math.isfinite(expected)


@pytest.mark.parametrize("rows_held", [1, 3, 7, 8, 100])
@pytest.mark.parametrize("head_trains", [False, True])
def test_chunked_loss_equals_cross_entropy_in_float64(rows_held: int, head_trains: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 positions, held 1 to 100 at a time, so that a border falls everywhere: losses, and gradients of states and head."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(8, 16, generator=generator).requires_grad_()
    head = torch.randn(50, 16, generator=generator).requires_grad_(head_trains)
    targets = torch.randint(0, 50, (8,), generator=generator)
    weights = torch.rand(8, generator=generator)
    monkeypatch.setitem(CHUNK_LOGITS, "cpu", rows_held * 50)
    total, losses = _ChunkedLoss.apply(hidden, head, targets, weights, True)
    (total * 3).backward()
    exact_hidden, exact_head = hidden.detach().double().requires_grad_(), head.detach().double().requires_grad_()
    exact = torch.nn.functional.cross_entropy(exact_hidden @ exact_head.T, targets, reduction="none")
    (3 * (exact * weights).sum()).backward()
    torch.testing.assert_close(losses.double(), exact.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(total.double(), (exact * weights).sum().detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hidden.grad.double(), exact_hidden.grad, rtol=1e-4, atol=1e-5)
    if head_trains:
        torch.testing.assert_close(head.grad.double(), exact_head.grad, rtol=1e-4, atol=1e-5)
    else:
        assert head.grad is None
