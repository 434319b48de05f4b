"""What is told of a growing text is certain: it is never taken back, and never holds a stop text."""

import pytest

from core.models.load import load_tokenizer
from core.serve.saying import Saying


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return load_tokenizer(str(tiny_base))


def told(tokenizer, text, **fields):
    """The pieces, token by token, and whether a stop text ended it."""
    saying, tokens = Saying(**fields), tokenizer(text)["input_ids"]
    pieces = []
    for place in range(1, len(tokens) + 1):
        new, stopped = saying.grow(tokenizer, tokens[:place], final=place == len(tokens))
        pieces.append(new)
        if stopped:
            break
    assert "".join(pieces) == saying.text
    return pieces, stopped


@pytest.mark.parametrize("text", ["  Virtue, שלום 🙂 is\n\nknowledge \n", "🙂", " \n "])
def test_verbatim_keeps_every_character_and_no_half_one_is_told(tokenizer, text):
    pieces, stopped = told(tokenizer, text, verbatim=True)
    assert "".join(pieces) == text and not stopped
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert "".join(told(tokenizer, text)[0]) == text.strip()


@pytest.mark.parametrize(
    ("stop", "left", "ends"),
    [
        (("\nQ:",), "One.\nQ", True),
        (("three", "two"), "One.\nQ\nQ: ", True),
        (("One",), "", True),
        (("\nQ:two",), "One.\nQ\nQ: two\nQ", False),
        (("\nQ\nX", "Q\nQ: "), "One.\n", True),
    ],
)
def test_a_stop_text_ends_it_and_its_beginning_is_never_told(tokenizer, stop, left, ends):
    text = {"One.\nQ": "One.\nQ\nQ: two"}.get(left, "One.\nQ\nQ: two\nQ")
    pieces, stopped = told(tokenizer, text, stop=stop, verbatim=True)
    assert ("".join(pieces), stopped) == (left, ends)
    for place in range(len(pieces) - 1):
        so_far = "".join(pieces[: place + 1])
        assert left.startswith(so_far)
