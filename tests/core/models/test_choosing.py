"""Drawn tokens follow the distribution that temperature and nucleus leave, by each row's own die."""

from collections import Counter
from random import Random

import pytest
import torch
from scipy.stats import chisquare
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from core.models import choosing
from core.models.choosing import GREEDY, Sampling, choose


def reference(logits, temperature, top_p):
    """transformers' own warpers."""
    warped = TemperatureLogitsWarper(temperature)(None, logits[None]) if temperature != 1 else logits[None]
    return TopPLogitsWarper(top_p)(None, warped).softmax(-1)[0]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.3, 0.9), (0.8, 0.5), (1.0, 0.01)])
@pytest.mark.parametrize("first", [1024, 3], ids=["top", "sorted"])
def test_tokens_are_drawn_as_transformers_would(monkeypatch, temperature, top_p, first):
    monkeypatch.setattr(choosing, "_FIRST", first)
    logits = torch.randn(12, generator=torch.Generator().manual_seed(4)) * 1.5
    wanted = reference(logits, temperature, top_p)
    draws = 4000
    tokens = choose(logits.expand(draws, -1), [Sampling(temperature, top_p)] * draws, [Random(seed) for seed in range(draws)])
    counts = Counter(tokens)
    possible = [token for token in range(12) if wanted[token] > 0]
    assert set(counts) <= set(possible)
    if len(possible) > 1:
        expected = wanted[possible].double()
        assert chisquare([counts[token] for token in possible], (expected / expected.sum() * draws).tolist()).pvalue > 1e-4


def test_a_rows_tokens_are_its_own_whatever_stands_beside_it():
    logits = torch.randn(5, 3000, generator=torch.Generator().manual_seed(1)) / 10  # flat: the nucleus is larger than the first look
    samplings = [Sampling(1.0, 0.9, 1), GREEDY, Sampling(0.7, 1.0, 2), Sampling(1.0, 0.01, 3), Sampling(1e-9, 0.5, 4)]
    dice = [Random(sampling.seed) for sampling in samplings]
    together = choose(logits, samplings, dice)
    alone = [choose(logits[row : row + 1], [samplings[row]], [Random(samplings[row].seed)])[0] for row in range(5)]
    assert together == alone
    best = logits.argmax(-1).tolist()
    assert together[1] == best[1] and together[4] == best[4]
    assert [die.random() == Random(sampling.seed).random() for die, sampling in zip(dice, samplings, strict=True)] == [
        False,
        True,
        False,
        False,
        True,
    ], "a greedy row throws no die"


def test_top_p_zero_is_the_most_probable_token():
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(2))
    assert choose(logits, [Sampling(2.0, 0.0, 7)] * 3, [Random(7)] * 3) == logits.argmax(-1).tolist()
