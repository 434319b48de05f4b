"""The interval that may be looked at after every verdict: its definition, and its coverage under the worst use."""

import math
import random

import pytest

from core.judge.early_stop import ALPHA, Looks, clears_half, interval


@pytest.mark.parametrize(("wins", "n"), [(0, 1), (3, 3), (7, 10), (50, 100), (193, 194), (0, 40)])
def test_the_edges_are_where_the_mixture_wins_its_stake(wins: int, n: int) -> None:
    from scipy.special import betaln

    def evidence(share: float) -> float:
        return betaln(wins + 0.5, n - wins + 0.5) - betaln(0.5, 0.5) - (wins * math.log(share) + (n - wins) * math.log1p(-share))

    low, high = interval(wins, n)
    assert low <= wins / n <= high
    for edge in (low, high):
        if 0 < edge < 1:
            assert evidence(edge) == pytest.approx(math.log(1 / ALPHA), rel=1e-6)
    assert clears_half(wins, n) == (low > 0.5 or high < 0.5)


def test_looking_after_every_verdict_stops_a_fair_coin_seldom() -> None:
    chance = random.Random(0)
    stopped = sum(any(stops(chance, 0.5)) for _ in range(400))
    assert stopped / 400 <= ALPHA + 0.02
    assert sum(any(stops(chance, 0.7)) for _ in range(100)) >= 95


def stops(chance: random.Random, share: float):
    wins = 0
    for n in range(1, 301):
        wins += chance.random() < share
        yield clears_half(wins, n)


def test_looks_follow_the_order_asked_not_the_order_of_arrival() -> None:
    looks = Looks()
    assert not any(looks.add(place, "fine-tuned") for place in range(1, 20))
    assert looks.judged == 0
    assert looks.add(0, "fine-tuned") and looks.wins == looks.judged < 20
    others = Looks()
    for place, word in enumerate(("failed", "unparsed", "not asked", "tie", "base")):
        others.add(place, word)
    assert (others.wins, others.judged) == (0, 2)


def test_nothing_is_known_of_nothing() -> None:
    assert interval(0, 0) == (0.0, 1.0) and not clears_half(0, 0)
