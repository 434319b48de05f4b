"""Tokens by their bytes: put side by side they are the text, whatever characters it has."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from core.models.spelling import Spelling

TEXTS = ["What is a good life?", "naïve café, 日本語", "👩‍👩‍👧 שלום عالم", "tabs\tand\nlines  and  blanks ", "½ ¡ÿ Ā ĉ"]


@pytest.fixture(scope="module")
def by_byte(tiny_base):
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_tokens_side_by_side_are_the_text(by_byte, text):
    spelling = Spelling(by_byte)
    tokens = by_byte(text, add_special_tokens=False)["input_ids"]
    assert b"".join(spelling.bytes(token) for token in tokens) == text.encode()
    assert b"".join(spelling.bytes(token) for token in tokens).decode() == by_byte.decode(tokens)


def test_any_text(by_byte):
    spelling = Spelling(by_byte)

    @settings(max_examples=200, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: "<|" not in text))
    def check(text):
        tokens = by_byte(text, add_special_tokens=False)["input_ids"]
        assert b"".join(spelling.bytes(token) for token in tokens) == text.encode()

    check()


def test_special_tokens_have_their_names(by_byte):
    assert Spelling(by_byte).bytes(by_byte.eos_token_id) == b"<|im_end|>"


def test_sentencepieces_blanks_and_bytes():
    pieces = {"<unk>": 0, "▁the": 1, "m": 2, "<0xE2>": 3, "<0x82>": 4, "<0xAC>": 5, "é": 6}
    tokenizer = Tokenizer(models.BPE(vocab=pieces, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    spelling = Spelling(wrapped)
    assert b"".join(spelling.bytes(token) for token in (1, 2, 6, 3, 4, 5)).decode() == " themé€" == wrapped.decode([1, 2, 6, 3, 4, 5])
