import string
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from core import word_overlap

WORDS = ["the", "The", "cat,", "cat", "sat.", "“mat”", "über", "...", "a", "dog"]


def _f1(reference, answer):
    """Rajpurkar et al. 2016, said plainly."""
    ours, theirs = ([word.strip(word_overlap.PUNCTUATION) or word for word in text.lower().split()] for text in (answer, reference))
    shared = sum((Counter(ours) & Counter(theirs)).values())
    if not ours and not theirs:
        return 1.0
    precision, recall = shared / max(1, len(ours)), shared / max(1, len(theirs))
    return 2 * precision * recall / (precision + recall) if shared else 0.0


def test_f1_is_that_of_counted_words():
    random = np.random.default_rng(0)
    texts = [[" ".join(random.choice(WORDS, random.integers(0, 12))) for _ in range(400)] for _ in range(3)]
    references, one, other = (pd.Series(column) for column in texts)
    (first, second), (words, more) = word_overlap.f1(references, one, other)
    assert first == pytest.approx([_f1(*pair) for pair in zip(references, one, strict=True)])
    assert second == pytest.approx([_f1(*pair) for pair in zip(references, other, strict=True)])
    assert list(words) == [len(text.split()) for text in one] and list(more) == [len(text.split()) for text in other]


def test_blank_texts_and_blanks_around_texts():
    (scores,), (words,) = word_overlap.f1(pd.Series(["", "  a b ", "a"]), pd.Series([" \n ", "b\ta", ""]))
    assert list(scores) == [1.0, 1.0, 0.0] and list(words) == [0, 2, 0]
    assert all(sign in word_overlap.PUNCTUATION for sign in string.punctuation)
