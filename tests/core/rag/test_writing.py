"""Questions that the base model writes: what is kept, what is dropped, and that the passage is their gold."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.config import RagConfig
from core.models.generate import Generation
from core.models.load import load
from core.rag import writing
from core.rag.questions import Asked
from core.rag.relevance import grades

TEXTS = [f"Note {number}: the lake of {name} lies high." for number, name in enumerate(("Uri", "Zug", "Chur", "Basel", "Genf"))]


def index() -> Any:
    passages = [
        SimpleNamespace(id=f"p{number}", document=f"{number}.md", start=0, end=len(text), text=text) for number, text in enumerate(TEXTS)
    ]
    texts = {f"{number}.md": text for number, text in enumerate(TEXTS)}
    return SimpleNamespace(passages=passages, sections={each.id: each for each in passages}, texts=texts)


class Told:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: list[tuple[float, float]] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def progress(self, done: float, total: float, unit: str) -> None:
        self.steps.append((done, total))


def written(monkeypatch: pytest.MonkeyPatch, base: Any, wanted: int, reply: Any) -> tuple[list[Asked], Told]:
    """Questions from replies that are given: `reply(the passage's name)`."""

    def complete(model: Any, prompts: list[list[int]], **how: Any) -> list[Generation]:
        texts = [model.tokenizer.decode(prompt) for prompt in prompts]
        return [Generation(reply(next(text for text in TEXTS if text in each).split()[5]), [], "stop") for each in texts]

    monkeypatch.setattr(writing, "complete", complete)
    told = Told()
    return writing.generate(RagConfig(generate_questions=wanted), index(), base, told), told  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Any:
    return load(str(tiny_base))


def test_a_question_has_its_passage_as_gold(monkeypatch: pytest.MonkeyPatch, base: Any) -> None:
    asked, told = written(monkeypatch, base, 3, lambda name: f"How high is the lake of {name}?")
    assert len(asked) == 3 and len({each.id for each in asked}) == 3
    assert all(each.source == "generated" and each.category == "generated" and not each.answer for each in asked)
    relevance = grades(index(), asked, RagConfig(generate_questions=3))
    for each in asked:
        [gold] = relevance.passages[each.id]
        assert TEXTS[int(gold[1:])].split()[5] in each.question
        assert relevance.documents[each.id] == {f"{gold[1:]}.md": 1.0}
    assert "wrote 3 questions of 3; they are marked as generated" in told.said[-1] and told.steps[-1] == (3, 3)


def test_the_same_passages_are_drawn_again(monkeypatch: pytest.MonkeyPatch, base: Any) -> None:
    def reply(name: str) -> str:
        return f"How high is the lake of {name}?"

    assert written(monkeypatch, base, 2, reply)[0] == written(monkeypatch, base, 2, reply)[0]


def test_what_is_dropped_is_counted_and_other_passages_take_its_place(monkeypatch: pytest.MonkeyPatch, base: Any) -> None:
    replies = {"Uri": "I can't.", "Zug": "Why so?", "Chur": "What does this passage say at all?", "Basel": "Where lies the lake?"}
    asked, told = written(monkeypatch, base, 2, lambda name: replies.get(name, "Where lies the LAKE?"))
    assert [each.question.casefold() for each in asked] == ["where lies the lake?"]
    for reason in (
        "1 × no question",
        "1 × a question that is too short",
        "1 × a question about 'the passage'",
        "1 × a question that was made",
    ):
        assert reason in told.said[-1]


@pytest.mark.parametrize(
    "reply, question",
    [
        ("Question: Who rules the lake of Uri?", "Who rules the lake of Uri?"),
        ("1. **Who rules the lake of Uri?** It is", "Who rules the lake of Uri?"),
        ('Sure!\n"Who rules the lake of Uri?"\nAnswer: nobody.', "Who rules the lake of Uri?"),
        ("Who rules the lake of Uri? And why is that so?", "Who rules the lake of Uri?"),
    ],
)
def test_the_question_is_found_in_the_reply(reply: str, question: str) -> None:
    assert writing._checked(reply, "") == (question, "")


def test_a_model_that_writes_none_leaves_none(base: Any) -> None:
    told = Told()
    config = RagConfig(generate_questions=2, max_seq_length=512)
    assert [each for each in writing.generate(config, index(), base, told) if len(each.question.split()) < 4] == []  # type: ignore[arg-type]
    assert "marked as generated" in told.said[-1]
