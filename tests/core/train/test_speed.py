"""The share of the machine's peak: counted FLOP against torch's own counter, and the peak against a clock."""

from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from core.models.load import load
from core.train import speed
from core.train.speed import matrix_peak, training_flops

TOKENS, ANSWERS = 24, 7


def counted(model: Any, ids: torch.Tensor) -> int:
    """FLOP of the products with weights, forward and backward, as torch counts them."""
    embedded = model.get_input_embeddings()(ids)
    if not embedded.requires_grad:
        embedded.requires_grad_()  # adapters in the first layer make the gradient go all the way down
    with FlopCounterMode(display=False) as counter:
        hidden = model.get_decoder()(inputs_embeds=embedded, use_cache=False).last_hidden_state[0, -ANSWERS:]
        F.cross_entropy(model.get_output_embeddings()(hidden), ids[0, -ANSWERS:]).backward()
    weights = (torch.ops.aten.mm, torch.ops.aten.addmm)
    return sum(flops for operation, flops in counter.get_flop_counts()["Global"].items() if operation in weights)


@pytest.mark.parametrize("full", [False, True])
def test_flops_are_those_that_torch_counts(tiny_base: Path, full: bool) -> None:
    """4 per weight and token beside a frozen base, 6 where it trains; the output layer on answer tokens alone."""
    model = load(str(tiny_base), device="cpu").model.requires_grad_(full)
    ids = torch.randint(0, 500, (1, TOKENS))
    assert training_flops(model, TOKENS, ANSWERS, full=full) == counted(model, ids)


def test_a_tied_output_layer_counts_as_an_untied_one(tiny_base: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(tiny_base)
    models = []
    for config.tie_word_embeddings in (True, False):
        models.append(AutoModelForCausalLM.from_config(config))
        assert (models[-1].lm_head.weight is models[-1].model.embed_tokens.weight) == config.tie_word_embeddings
    flops = [training_flops(model, TOKENS, ANSWERS) for model in models]
    assert flops[0] == flops[1]
    body = training_flops(models[0], TOKENS, 0)
    assert flops[0] - body == 4 * ANSWERS * config.vocab_size * config.hidden_size


def test_four_bit_layers_count_as_the_layers_they_stand_for(tiny_base: Path) -> None:
    plain, packed = (load(str(tiny_base), device="cpu", quantization=kind).model for kind in ("none", "nf4"))
    assert training_flops(packed, TOKENS, ANSWERS) == training_flops(plain, TOKENS, ANSWERS)


def test_tinyllama_takes_what_its_weights_say() -> None:
    """1,034 million weights beside the embedding: 4.14 GFLOP a token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    assert training_flops(model, 1, 1) == pytest.approx(4.138e9, rel=1e-3)


def test_peak_is_flops_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that gives the products 5, 1, 3, 2 and 6 ms, the median of the three fastest counts."""
    ends = list(accumulate(ms / 1000 for ms in (50, 5, 1, 3, 2, 6)))  # the first is not counted
    clock = iter([moment for begin, end in pairwise([0.0, *ends]) for moment in (begin, end)])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    monkeypatch.setitem(speed.SIZES, "cpu", (10, 20, 30))
    assert matrix_peak(torch.device("cpu"), torch.float32) == pytest.approx(2 * 10 * 20 * 30 / 2e-3)


def test_peak_of_this_machine_is_believable() -> None:
    """A core does billions a second, and no desk holds 100 trillion in fp32 on CPUs."""
    peak = matrix_peak(torch.device("cpu"), torch.float32)
    assert 1e9 < peak < 1e14
