"""Prompts: only the answer and its end token are supervised, and every model sees the template's own prompt."""

from pathlib import Path

import pytest

from core.data.prompt import Prompter
from core.errors import UserError
from core.models.load import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path):
    return load_tokenizer(str(tiny_base))


def test_prompt_is_the_chat_templates(tokenizer) -> None:
    expected = "<|im_start|>user\nWhat is love?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(Prompter(tokenizer).prompt("What is love?", "cynic")) == expected


def test_system_prompt_names_the_category(tokenizer) -> None:
    text = tokenizer.decode(Prompter(tokenizer, "Voice: {category}, {other}.").prompt("Q", "cynic"))
    assert text.startswith("<|im_start|>system\nVoice: cynic, {other}.<|im_end|>\n<|im_start|>user\nQ")


def test_answer_ends_with_the_end_token_which_is_not_padding(tokenizer) -> None:
    example = Prompter(tokenizer).encode("Q", "Blind faith 🙂 שלום", "cynic")
    assert tokenizer.decode(example.answer[:-1]) == "Blind faith 🙂 שלום"
    assert example.answer[-1] == tokenizer.eos_token_id != tokenizer.pad_token_id
    assert not example.cut


def test_a_long_answer_is_cut_and_then_has_no_end(tokenizer) -> None:
    example = Prompter(tokenizer, max_seq_length=64).encode("Q", "word " * 10_000, "cynic")
    assert len(example) == 64 and example.cut and tokenizer.eos_token_id not in example.answer


def test_a_long_question_leaves_nothing_to_supervise(tokenizer) -> None:
    example = Prompter(tokenizer, max_seq_length=16).encode("why " * 100, "because", "cynic")
    assert example.answer == [] and example.cut


def test_special_tokens_are_not_doubled(tokenizer) -> None:
    prompt = Prompter(tokenizer).prompt("Q", "cynic")
    assert prompt.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 2


TURNS = [
    {"role": "system", "content": "Be terse."},
    {"role": "user", "content": "I am Ada."},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Who am I?"},
]
STRICT = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "[{{ message['role'] }}] {{ message['content'] }} {% endfor %}"
)
"""As Mistral's: no system message, and turns that alternate."""


def test_a_conversation_is_the_chat_templates(tokenizer) -> None:
    expected = tokenizer.apply_chat_template(TURNS, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert Prompter(tokenizer).conversation(TURNS) == expected


def test_where_a_template_takes_no_system_message_it_opens_the_first_turn(tiny_base: Path) -> None:
    strict = load_tokenizer(str(tiny_base))
    strict.chat_template = STRICT
    prompter = Prompter(strict)
    assert strict.decode(prompter.conversation(TURNS)) == "[user] Be terse.\n\nI am Ada. [assistant] Hello. [user] Who am I? "
    assert strict.decode(prompter.conversation(TURNS[:1])) == "[user] Be terse. "
    with pytest.raises(UserError, match=r"refuses these messages \(roles must alternate\). Let user and assistant take turns"):
        prompter.conversation(TURNS[1:2] * 2)


def test_lengths_are_those_of_the_encoded_rows(tiny_base: Path) -> None:
    rows = [("What is a railroad?", "A device.", "x"), ("😀", "", "y"), ("How? " * 50, "So. " * 70, "z")]
    for prompter in (Prompter(load_tokenizer(str(tiny_base)), system, 10**6) for system in (None, "You are a {category}.")):
        assert prompter.lengths(rows) == [(len(each.prompt), len(each.answer)) for each in prompter.encode_all(rows)]
    assert prompter.lengths([]) == []
