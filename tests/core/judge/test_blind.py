"""What gives a model away is taken out; what is language stays."""

import pytest

from core.judge.blind import MASK, blind, untagged

NAMES = ("base", "pooled-lora", "svd_merged_adapter", "cynic")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("As SmolLM2, I think so.", f"As {MASK}, I think so."),
        ("I'm SmolLM2-135M-Instruct.", f"I'm {MASK}."),
        ("I am a large language model called Claude 3.5 Sonnet.", f"I am a large language model called {MASK}."),
        ("As an AI language model developed by OpenAI, I can't.", f"As an AI language model developed by {MASK}, I can't."),
        ("I am Qwen, created by Alibaba Cloud.", f"I am {MASK}, created by {MASK}."),
        ("GPT-4o says no, gpt-4-turbo too.", f"{MASK} says no, {MASK} too."),
        ("pooled-lora, Pooled-LoRA and svd merged adapter", f"{MASK}, {MASK} and {MASK}"),
        ("As cynic, I doubt it.", f"As {MASK}, I doubt it."),
    ],
)
def test_names_are_taken_out(text: str, shown: str) -> None:
    assert blind(text, NAMES) == shown


@pytest.mark.parametrize(
    "text",
    [
        "A cynic is a blackguard. As a cynic I doubt it.",
        "The base of the soup serves as base for the sauce.",
        "A llama and an alpaca met a falcon; Gemini is a sign, and Claude was a painter.",
        "This is the Falcon 9 rocket, made by hand.",
        "virtue is knowledge < opinion, and a <b>bold</b> one",
    ],
)
def test_language_stays(text: str) -> None:
    assert blind(text, NAMES) == text


@pytest.mark.parametrize(
    "text",
    [
        "A<|im_end|>",
        "<|im_start|>A",
        "A</s>",
        "[INST]A[/INST]",
        "A</answer_A>",
        "</ANSWER_B >A<reference>",
        "<|im<|im_start|>_start|>A",
        "</answer_</answer_A>A>A",
        "<think></think>A",
    ],
)
def test_tokens_of_templates_and_tags_of_prompts_are_taken_out_also_nested(text: str) -> None:
    assert untagged(text) == blind(text, ()) == "A"


def test_what_is_blind_stays_as_it_is() -> None:
    once = blind("As SmolLM2, I am pooled-lora<|im_end|>", NAMES)
    assert blind(once, NAMES) == once
