"""Rows that enter and leave between steps get the tokens that transformers gives each of them alone."""

import random
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
        for name, logits in zip(names, decoding.enter(names, [PROMPTS[name] for name in names], lambda rows: nullcontext()), strict=True):
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
    decoding.enter(["long", "short"], [PROMPTS["long"], PROMPTS["short"]], lambda rows: nullcontext())
    assert decoding._mask.shape == (2, 30)
    decoding.leave(["long"])
    decoding.step([7], nullcontext())
    assert decoding._mask.shape == (1, 4) and decoding._cache.layers[0].keys.shape[2] == 4


HEAD = list(range(100, 130))
"""What several prompts begin with."""


class Read:
    """A model's tokens, counted as it reads them."""

    def __init__(self, base):
        self.tokens = 0
        self._hook = base.model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _, args, kwargs):
        self.tokens += args[0].numel()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._hook.remove()


def test_what_prompts_begin_with_is_read_once(base):
    prompts = [[*HEAD, *tail] for tail in ([1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [11, 12])]
    first = [alone(base, prompt) for prompt in prompts]
    decoding = Decoding(base)
    with Read(base) as read:
        logits = decoding.enter(list("abcd"), prompts, lambda rows: nullcontext(), ["one"] * 4)
    sliding = decoding._slides
    assert read.tokens == (4 * 36 if sliding else 30 + 4 * 6), "a window that slides forgets what was read"
    for step in range(8):
        for mine, theirs in zip(logits, first, strict=True):
            assert torch.allclose(mine, theirs[step], atol=1e-4)
        logits = decoding.step([int(each.argmax()) for each in logits], nullcontext())
    with Read(base) as read:
        again = decoding.enter(["e", "f"], [prompts[2], [*HEAD[:20], 77]], lambda rows: nullcontext(), ["one", "one"])
    assert read.tokens == (2 * 36 if sliding else 2), "the last token alone, and what comes after the twenty"
    assert torch.allclose(again[0], first[2][0], atol=1e-4)
    assert torch.allclose(again[1], alone(base, [*HEAD[:20], 77])[0], atol=1e-4)
    decoding.leave(["a", "b", "c", "d", "e"])
    assert decoding.rows == ["f"]
    step = decoding.step([int(again[1].argmax())], nullcontext())
    assert torch.allclose(step[0], alone(base, [*HEAD[:20], 77])[1], atol=1e-4)


def test_readers_that_differ_share_nothing(base):
    """A reader that adds to every layer's input would spoil the keys of another."""
    shift = {"plain": 0.0, "other": 0.5}

    def mixing(rows):
        added = torch.tensor([shift[row[0]] for row in rows])[:, None, None]
        layer = base.model.model.layers[0].self_attn.q_proj
        keys = base.model.model.layers[1].self_attn.k_proj
        hooks = [each.register_forward_hook(lambda _, __, out: out + added) for each in (layer, keys)]

        class Context:
            def __enter__(self):
                pass

            def __exit__(self, *_):
                for hook in hooks:
                    hook.remove()

        return Context()

    rows = [("plain", 0), ("other", 0), ("plain", 1), ("other", 1)]
    prompts = [[*HEAD, *tail] for tail in ([1, 2], [1, 2], [3], [3])]
    expected = Decoding(base).enter(rows, prompts, mixing)
    decoding = Decoding(base)
    decoding.enter([("plain", 9)], [[*HEAD, 50]], mixing, ["plain"])
    found = decoding.enter(rows, prompts, mixing, [kind for kind, _ in rows])
    assert torch.allclose(found, expected, atol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 0.01


def test_no_more_is_kept_than_there_is_room_for(base, monkeypatch):
    decoding = Decoding(base)
    one = 2 * 2 * 2 * 30 * 16 * 4  # keys and values, layers, heads, tokens, dim, bytes
    monkeypatch.setattr("core.models.prefixes.MOST_BYTES", 3 * one)
    for nth in range(5):
        decoding.enter([nth], [[nth + 1] * 30], lambda rows: nullcontext(), ["one"])
    kept = decoding._prefixes
    if not decoding._slides:
        assert len(kept._kept) == 3 and kept._bytes == 3 * one
        assert kept.longest("one", [5] * 30).tokens == 29 and kept.longest("one", [1] * 30) is None
        assert kept.longest("two", [5] * 30) is None and kept.longest("one", [5] * 7) is None


def test_rows_come_and_go_at_random(base):
    """Forty comings and goings, beyond the room for new slots; every logit is that of the row alone."""
    draw = random.Random(4)
    prompts = {name: [draw.randrange(5, 500) for _ in range(draw.choice((3, 9, 20, 45)))] for name in range(14)}
    decoding, said = Decoding(base), {}
    waiting = list(prompts)
    while waiting or decoding.rows:
        entering = [waiting.pop() for _ in range(min(len(waiting), draw.randrange(3)))]
        if entering:
            logits = decoding.enter(
                entering, [prompts[name] for name in entering], lambda rows: nullcontext(), [name % 2 for name in entering]
            )
            said |= {name: [each] for name, each in zip(entering, logits, strict=True)}
        for _ in range(draw.choice((1, 5, 40))):
            if decoding.rows:
                newest = [int(said[name][-1].argmax()) for name in decoding.rows]
                for name, each in zip(decoding.rows, decoding.step(newest, nullcontext()), strict=True):
                    said[name].append(each)
        decoding.leave([name for name in decoding.rows if draw.random() < 0.4])
    assert max(map(len, said.values())) > 64
    for name, logits in said.items():
        for mine, theirs in zip(logits, alone(base, prompts[name]), strict=False):
            assert torch.allclose(mine, theirs, atol=1e-4)
