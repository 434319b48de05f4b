"""Tokens as chat completions tell them, and the spans that they are shown as."""

import math

from hypothesis import given
from hypothesis import strategies as st

from core.answer_tokens import Token, of_chunk, spans


def token(text, probability=0.5, others=()):
    return Token(text, math.log(probability), text.encode(), tuple((each, math.log(share)) for each, share in others))


def test_a_chunk_gives_its_tokens_with_what_else_was_probable():
    top = [{"token": " a", "logprob": -0.1, "bytes": [32, 97]}, {"token": " b", "logprob": -2.5, "bytes": [32, 98]}]
    choice = {"logprobs": {"content": [{"token": " b", "logprob": -2.5, "bytes": [32, 98], "top_logprobs": top}]}}
    assert of_chunk(choice) == (Token(" b", -2.5, b" b", ((" a", -0.1), (" b", -2.5))),)
    assert of_chunk({"logprobs": None}) == of_chunk({}) == of_chunk({"logprobs": {"content": None}}) == ()
    assert of_chunk({"logprobs": {"content": [{"token": "é", "logprob": -1, "bytes": None}]}})[0].bytes == "é".encode()


def test_a_span_says_its_probability_and_the_alternatives_but_not_itself_again():
    (span,) = spans([token(" <b>", 0.34, [(" <b>", 0.34), (" c", 0.2), ("\n", 0.05)])], " <b>")
    assert (span.text, span.token) == (" <b>", 0) and math.isclose(span.probability, 0.34)
    assert span.title == "“ <b>”: 34 %\ninstead: “ c” 20 %, “↵” 5.0 %"


def test_tokens_that_are_parts_of_a_character_are_one_span():
    parts = [Token("\ufffd", math.log(0.5), bytes([byte])) for byte in "é".encode()]
    found = spans([token("a"), *parts, token("b")], "aéb")
    assert [(span.text, span.token) for span in found] == [("a", 0), ("é", 1), ("b", 3)]
    assert math.isclose(found[1].probability, 0.25) and found[1].title == "“é”, 2 tokens: 25 %"


def test_bytes_that_are_no_text_stay_tokens_of_their_own():
    pieces = [b"a", b"\x89", b"\xd3", b"b", b"\xff", b" c", b"\xc3"]
    found = spans([Token("?", -1.0, piece) for piece in pieces], b"".join(pieces).decode("utf-8", "replace"))
    assert [(span.text, span.token) for span in found] == [("a", 0), ("\ufffd", 1), ("\ufffdb", 2), ("\ufffd", 4), (" c", 5), ("\ufffd", 6)]


def test_control_tokens_stand_nowhere():
    found = spans([token("a"), token("<|im_start|>"), token(" b")], "a b")
    assert [(span.text, span.token) for span in found] == [("a", 0), (" b", 2)]


def test_control_tokens_between_the_bytes_of_a_character_stand_nowhere():
    first, last = (Token("\ufffd", math.log(0.5), bytes([byte])) for byte in "é".encode())
    found = spans([token("a"), first, token("<|im_start|>"), last, token("b")], "aéb")
    assert [(span.text, span.token, span.tokens) for span in found] == [("a", 0, 1), ("é", 1, 2), ("b", 4, 1)]
    found = spans([first, token("<|im_start|>"), token("b"), first, token("<|im_start|>")], "\ufffdb\ufffd")
    assert [(span.text, span.token) for span in found] == [("\ufffdb", 0), ("\ufffd", 3)]


def test_tokens_that_are_another_text_give_no_spans():
    assert spans([token("a")], "b") == spans([], "b") == []
    assert spans([], "") == []


@given(st.text(min_size=1).filter(lambda text: not any("\ud800" <= sign <= "\udfff" for sign in text)), st.data())
def test_spans_are_the_text_however_its_bytes_are_cut(text, data):
    spelled = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(spelled) - 1)))))
    pieces = [spelled[start:end] for start, end in zip([0, *cuts], [*cuts, len(spelled)], strict=True) if start < end]
    found = spans([Token("?", -0.1, piece) for piece in pieces], text)
    assert "".join(span.text for span in found) == text
    assert math.isclose(sum(math.log(span.probability) for span in found), -0.1 * len(pieces))
