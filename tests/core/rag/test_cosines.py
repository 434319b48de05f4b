"""Vectors of texts."""

from collections.abc import Sequence

import numpy as np

from core.rag.cosines import embedded, remembering


class Embed:
    """A text's vector is its length and its number of vowels; says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), sum(text.count(vowel) for vowel in "aeiou")] for text in texts], dtype=np.float32)


def test_vectors_have_length_one_and_each_text_is_embedded_once() -> None:
    embed = Embed()
    vectors = embedded(["abc", "", "aeiou", "abc", " \n"], embed)
    assert embed.asked == ["abc", "aeiou"]
    np.testing.assert_allclose(vectors["abc"], [3 / 10**0.5, 1 / 10**0.5, 0], atol=1e-7)
    assert vectors["abc"] @ vectors["aeiou"] == np.float64(vectors["aeiou"] @ vectors["abc"]) < 1
    assert vectors[""] @ vectors[" \n"] == 1 and vectors[""] @ vectors["abc"] == 0
    assert embedded([""], embed)[""].tolist() == [1.0] and embedded([], embed) == {}


def test_what_was_embedded_is_remembered() -> None:
    embed = Embed()
    remembered = remembering(embed)
    first, again = remembered(["abc", "aeiou", "abc"]), remembered(["aeiou", "new"])
    assert embed.asked == ["abc", "aeiou", "new"]
    np.testing.assert_array_equal(first, [[3, 1], [5, 5], [3, 1]])
    np.testing.assert_array_equal(again, [[5, 5], [3, 1]])
