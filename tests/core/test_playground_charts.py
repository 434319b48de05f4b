"""Why a word: bars in the order of their size, and the sentence that says the same."""

import math

from core import charts, playground_charts


def told(base, mix, **shares):
    return {"token": " law", "base": math.log(base), "mix": math.log(mix), "shares": shares}


def test_bars_are_ordered_by_size_in_the_adapters_colours():
    figure = playground_charts.shares({"a": 0.1, "b": -0.9, "c": 0.4}, {"a": "#111111", "b": "#222222"})
    (bars,) = figure.data
    assert list(bars.y) == ["b", "c", "a"] and list(bars.x) == [-0.9, 0.4, 0.1]
    assert list(bars.marker.color) == ["#222222", charts.ACCENT, "#111111"] and list(bars.text) == ["−0.900", "+0.400", "+0.100"]


def test_the_sentence_says_both_probabilities_and_the_largest_shares():
    assert playground_charts.said(told(0.1, 0.4, a=1.0, b=0.386)) == (
        "“ law” has a probability of 40 % here, and of 10 % under the base model: "
        "4.00 times more probable, +1.39 nats. Of these: a +1.00 and b +0.386."
    )
    less = playground_charts.said(told(0.4, 0.2, a=-0.9, b=0.1, c=0.05, d=0.05))
    assert "2.00 times less probable, −0.693 nats. Of these: a −0.900, b +0.100, c +0.0500 and 1 more." in less
    assert playground_charts.said(told(0.5, 0.5)).endswith("under the base model: no difference to share.")
