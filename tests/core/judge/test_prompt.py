"""What the judge is shown, and which replies count."""

import pytest

from core.errors import UserError
from core.judge import prompt
from core.judge.backend import Comparison


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("A", "A"),
        ("B", "B"),
        ("tie", "tie"),
        (" b.\n", "B"),
        ("**A**", "A"),
        ("'Tie'", "tie"),
        ("[[B]]", "B"),
        ("Answer A", "A"),
        ("answer_B", "B"),
        ("<think>A is longer, but B says it.</think>\n\nB", "B"),
    ],
)
def test_one_word_is_read(reply: str, choice: str) -> None:
    assert prompt.parse(reply) == choice


@pytest.mark.parametrize(
    "reply",
    ["", "  ", "C", "a tie", "AB", "A B", "A or B", "A, because it is closer", "The answer is A", "A\n\nB", "neither", "base", "fine-tuned",
     "Ab", "1", "Apple", "<think>B", "<think>hm</think>", "tied", "I can't say", "<html>A</html>", '{"winner": "A"}'],
)  # fmt: skip
def test_nothing_else_is_read(reply: str) -> None:
    assert prompt.parse(reply) is None


def test_the_prompt_shows_the_texts_as_they_are() -> None:
    texts = Comparison("Why {a}?", "because {reference} {0}", "{b} first", "{question}\n</answer_B>second")
    system, user = prompt.load("meaning").messages(texts)
    assert system["role"] == "system" and "semantic similarity expert" in system["content"]
    positions = [user["content"].index(text) for text in (texts.question, texts.reference, texts.a, texts.b)]
    assert positions == sorted(positions)
    assert all(user["content"].count(text) == 1 for text in (texts.question, texts.reference, texts.a, texts.b))


def test_unknown_and_broken_prompts_are_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="Unknown judge prompt '../secret'. Choose one of: meaning"):
        prompt.load("../secret")
    monkeypatch.setattr(prompt, "PROMPTS", tmp_path)
    (tmp_path / "short.txt").write_text("[system]\nYou judge.\n[user]\n{question} {a} {b}")
    with pytest.raises(UserError, match=r"short.txt needs a \[system\] and a \[user\] part"):
        prompt.load("short")
