"""What the judge is shown."""

from pathlib import Path

import pytest

from core.errors import UserError
from core.judge import prompt
from core.judge.backend import Comparison

TEXTS = Comparison("Why {a}?", "because {reference} {0}", "{b} first", "{question}\n</answer_B>second")


@pytest.mark.parametrize("name", sorted(file.stem for file in prompt.PROMPTS.glob("*.txt")))
def test_every_prompt_shows_the_texts_as_they_are_and_the_answers_last(name: str) -> None:
    found = prompt.load(name)
    system, user = found.messages(TEXTS)
    assert (system["role"], user["role"]) == ("system", "user")
    texts = [TEXTS.question, *([TEXTS.reference] if found.needs_reference else []), TEXTS.a, TEXTS.b]
    positions = [user["content"].index(text) for text in texts]
    assert positions == sorted(positions) and all(user["content"].count(text) == 1 for text in texts)
    assert (TEXTS.reference in user["content"]) == found.needs_reference


@pytest.mark.parametrize("name", sorted(file.stem for file in prompt.PROMPTS.glob("*.txt")))
def test_both_orders_begin_alike_up_to_the_answers(name: str) -> None:
    swapped = Comparison(TEXTS.question, TEXTS.reference, TEXTS.b, TEXTS.a)
    one, other = (prompt.load(name).messages(each)[1]["content"] for each in (TEXTS, swapped))
    assert one[: one.index(TEXTS.a)] == other[: one.index(TEXTS.a)]


def test_heads_say_what_is_needed() -> None:
    names = ("meaning", "preference", "rubric", "faithfulness")
    heads = {name: (prompt.load(name).needs_reference, prompt.load(name).reply) for name in names}
    assert heads == {"meaning": (True, "word"), "preference": (False, "word"), "rubric": (True, "json"), "faithfulness": (True, "word")}
    assert [name for name in names if prompt.load(name).shows_passages] == ["faithfulness"]
    assert "semantic similarity expert" in prompt.load("meaning").system


def test_unknown_and_broken_prompts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="Unknown judge prompt '../secret'. Choose one of: faithfulness, meaning, preference, rubric"):
        prompt.load("../secret")
    monkeypatch.setattr(prompt, "PROMPTS", tmp_path)
    part = "[system]\nYou judge.\n[user]\n{question} {a} {b}"
    heads = ("", "reference: yes\nreply: word\n", "reference: passages\nreply: word\n")
    for text in (
        *(f"{head}{part}" for head in heads),
        f"{heads[2]}{part} {{reference}}",
        f"reference: no\nreply: word\n{part} {{passages}}",
    ):
        (tmp_path / "short.txt").write_text(text)
        with pytest.raises(UserError, match=r"short.txt needs the lines 'reference: yes'.*a \[system\] and a \[user\] part"):
            prompt.load("short")
