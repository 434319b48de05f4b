"""Greedy answers are those of transformers' generate and peft, row by row."""

import random

import pytest
import torch

from core.adapter import Adapter, Factor
from core.bank import AdapterBank
from core.models import load
from core.models.generate import end_tokens, generate


@pytest.fixture(scope="module")
def base(tiny_base):
    return load.load(str(tiny_base), device="cpu")


@pytest.fixture(scope="module")
def prompts(base):
    chance = random.Random(0)
    return [[chance.randrange(4, 500) for _ in range(length)] for length in (3, 17, 9, 30, 5, 17, 8, 12, 4, 21)]


def alone(base, prompt, max_new_tokens):
    """What transformers generates for one prompt, unpadded."""
    ids = torch.tensor([prompt])
    made = base.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(end_tokens(base)),
        pad_token_id=base.tokenizer.pad_token_id,
    )
    return made[0, len(prompt) :].tolist()


def common_token(base, prompts, max_new_tokens):
    """A token that some answers reach in the middle, to serve as the end token."""
    answers = [alone(base, prompt, max_new_tokens)[2:] for prompt in prompts]
    counts = {token: sum(token in answer for answer in answers) for answer in answers for token in answer}
    return min((token for token, count in counts.items() if count >= 2), key=lambda token: (abs(counts[token] - len(prompts) // 2), token))


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_answers_equal_transformers_one_by_one(base, prompts, batch_size):
    answers = generate(base, prompts, max_new_tokens=12, batch_size=batch_size)
    for prompt, answer in zip(prompts, answers, strict=True):
        expected = alone(base, prompt, 12)
        assert answer.tokens == [token for token in expected if token not in end_tokens(base)]
        assert answer.text == base.tokenizer.decode(answer.tokens, skip_special_tokens=True).strip()


def test_a_row_that_ends_leaves_its_batch_and_the_others_go_on(base, prompts, monkeypatch):
    end = common_token(base, prompts, 16)
    monkeypatch.setattr(base.model.generation_config, "eos_token_id", [2, end])
    answers = generate(base, prompts, max_new_tokens=16, batch_size=10)
    finishes = {answer.finish for answer in answers}
    assert finishes == {"stop", "length"}
    for prompt, answer in zip(prompts, answers, strict=True):
        expected = alone(base, prompt, 16)
        if answer.finish == "stop":
            assert [*answer.tokens, end] == expected
        else:
            assert answer.tokens == expected and len(expected) == 16


def test_every_row_has_its_own_adapter(base, prompts):
    adapters = [random_adapter(base, f"a{seed}", seed) for seed in (1, 2)]
    bank = AdapterBank.load(base.model, adapters)
    weights = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, -0.25]]).repeat(3, 1)[: len(prompts)]
    seen = []

    def mixing(rows):
        seen.append(len(rows))
        return bank.mixing(weights[rows])

    together = generate(base, prompts, max_new_tokens=10, batch_size=len(prompts), mixing=mixing)
    alone_tokens = []
    for prompt, mix in zip(prompts, weights, strict=True):
        with bank.mixing(mix):
            alone_tokens.append([token for token in alone(base, prompt, 10) if token not in end_tokens(base)])
    bank.detach()
    assert seen[0] == len(prompts)
    assert [answer.tokens for answer in together] == alone_tokens
    assert together[1].tokens != generate(base, prompts[1:2], max_new_tokens=10, batch_size=1)[0].tokens


def test_progress_counts_answers_and_moves_within_a_batch(base, prompts):
    heard = []
    generate(base, prompts, max_new_tokens=8, batch_size=5, progress=heard.append)
    assert heard == sorted(set(heard)) and heard[-1] == len(prompts)
    assert 0 < heard[0] < 5 and all(isinstance(done, int) for done in heard)


def random_adapter(base, name, seed):
    chance = torch.Generator().manual_seed(seed)
    factors = {
        layer: Factor(
            torch.randn(4, module.in_features, generator=chance) * 0.2, torch.randn(module.out_features, 4, generator=chance) * 0.2, 1.0
        )
        for layer, module in base.model.named_modules()
        if layer.endswith(("q_proj", "v_proj"))
    }
    return Adapter(name, factors, base.hub_name)
