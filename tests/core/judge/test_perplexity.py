"""The likelihood baseline, beside the same figure taken from transformers directly."""

from pathlib import Path

import pytest

from core.config import JudgeConfig
from core.judge.backend import Comparison
from core.judge.perplexity import TEXT, TIE_MARGIN, Perplexity


@pytest.fixture
def judge(tiny_base: Path) -> Perplexity:
    made = Perplexity(JudgeConfig(backend="perplexity"), str(tiny_base), lambda reason, seconds: None)
    made.open()
    return made


def test_it_is_the_mean_log_probability_of_the_reference(judge: Perplexity, tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny_base), AutoModelForCausalLM.from_pretrained(tiny_base)
    reference = "virtue is knowledge"

    def likelihood(answer: str) -> float:
        messages = [{"role": "user", "content": TEXT.format(question="What is virtue?", answer=answer)}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(prompt, add_special_tokens=False).input_ids
        target = [*tokenizer(reference, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(torch.tensor([ids + target])).logits[0].double().log_softmax(-1)
        return sum(float(logits[len(ids) - 1 + place, token]) for place, token in enumerate(target)) / len(target)

    answers = ("virtue is courage", "knowledge, knowledge, knowledge and nothing but knowledge")
    a, b = map(likelihood, answers)
    for shown, one, other in ((answers, a, b), (answers[::-1], b, a)):
        reply = judge.ask(Comparison("What is virtue?", reference, *shown))
        assert f"A {one:.3f}, B {other:.3f} nats" in reply.text and "both orders are the same by construction" in reply.text
        assert judge.read(reply).choice == ("tie" if abs(one - other) < TIE_MARGIN else "A" if one > other else "B")


def test_equal_answers_tie_and_weights_are_part_of_the_identity(judge: Perplexity) -> None:
    same = Comparison("Why?", "because", "so", "so")
    assert judge.read(judge.ask(same)).choice == "tie"
    assert judge.identity(same)[1] not in ("", None) and judge.identity(same) != judge.identity(Comparison("Why?", "because", "so", "no"))
    assert judge.needs_reference and judge.prompt == "" and "perplexity" in judge.name
