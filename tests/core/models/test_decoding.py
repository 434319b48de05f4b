"""Rows that enter and leave between steps get the tokens that transformers gives each of them alone."""

from contextlib import nullcontext

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from core.models import load
from core.models.decoding import Decoding

PROMPTS = {"long": list(range(5, 35)), "short": [40, 41, 42], "middle": list(range(60, 75)), "late": list(range(200, 250))}
STEPS = 20


@pytest.fixture(scope="module", params=["full", "sliding"])
def base(request, tiny_base, tmp_path_factory):
    """Full attention, and a sliding window that is shorter than most rows."""
    if request.param == "full":
        return load.load(str(tiny_base), device="cpu")
    folder = tmp_path_factory.mktemp("sliding")
    config = MistralConfig(
        vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        sliding_window=8, initializer_range=0.1, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MistralForCausalLM(config).save_pretrained(folder)
    for file in tiny_base.glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return load.load(str(folder), device="cpu")


def alone(base, prompt):
    """Logits of each next token, recomputed from the whole row each time, without a cache."""
    tokens = list(prompt)
    logits = []
    for _ in range(STEPS):
        with torch.no_grad():
            logits.append(base.model(torch.tensor([tokens])).logits[0, -1].float())
        tokens.append(int(logits[-1].argmax()))
    return logits


def test_rows_enter_and_leave_in_the_middle(base):
    decoding = Decoding(base)
    chosen: dict[str, list[torch.Tensor]] = {name: [] for name in PROMPTS}

    def enter(*names):
        for name, logits in zip(names, decoding.enter(names, [PROMPTS[name] for name in names], nullcontext()), strict=True):
            chosen[name].append(logits)

    def step(times):
        for _ in range(times):
            newest = [int(chosen[name][-1].argmax()) for name in decoding.rows]
            for name, logits in zip(decoding.rows, decoding.step(newest, nullcontext()), strict=True):
                chosen[name].append(logits)

    enter("long", "short")
    step(3)
    enter("middle")
    step(4)
    decoding.leave(["long"])
    step(2)
    enter("late")
    step(9)
    decoding.leave(["short", "middle"])
    step(5)
    assert decoding.rows == ["late"]
    decoding.leave(["late"])
    enter("long")
    assert {name: len(logits) for name, logits in chosen.items()} == {"long": 9, "short": 19, "middle": 16, "late": 15}
    for name, prompt in PROMPTS.items():
        reference = alone(base, prompt)
        rerun = chosen[name][:8] if name == "long" else chosen[name]
        for mine, theirs in zip(rerun, reference, strict=False):
            assert torch.allclose(mine, theirs, atol=1e-4)
    assert torch.allclose(chosen["long"][8], alone(base, PROMPTS["long"])[0], atol=1e-4)


def test_slots_are_as_many_as_the_longest_row_needs(base):
    decoding = Decoding(base)
    decoding.enter(["long", "short"], [PROMPTS["long"], PROMPTS["short"]], nullcontext())
    assert decoding._mask.shape == (2, 30)
    decoding.leave(["long"])
    decoding.step([7], nullcontext())
    assert decoding._mask.shape == (1, 4) and decoding._cache.layers[0].keys.shape[2] == 4
