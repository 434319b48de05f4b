"""The judge's prompt files (core/judge/prompts/<id>.txt), and the strict reading of its one-word reply."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from core.errors import UserError
from core.judge.backend import Choice, Comparison

PROMPTS = Path(__file__).parent / "prompts"
_FIELDS = ("question", "reference", "a", "b")
_WORD = re.compile(r"""[\s"'`*_(\[]*(?:answer[\s_]+)?(a|b|tie)[\s"'`*_)\].!]*""", re.IGNORECASE)
_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class Prompt:
    """A system and a user message; {question}, {reference}, {a} and {b} stand for the texts."""

    system: str
    user: str

    def messages(self, comparison: Comparison) -> list[dict[str, str]]:
        """The two chat messages of one comparison."""
        texts = {"question": comparison.question, "reference": comparison.reference, "a": comparison.a, "b": comparison.b}
        filled = re.sub(r"\{(question|reference|a|b)\}", lambda match: texts[match[1]], self.user)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": filled}]


def load(prompt_id: str) -> Prompt:
    """The prompt of this id. Raises UserError with the known ids."""
    known = {file.stem: file for file in sorted(PROMPTS.glob("*.txt"))}
    if prompt_id not in known:
        raise UserError(f"Unknown judge prompt '{prompt_id}'. Choose one of: {', '.join(known)}; or add {PROMPTS}/{prompt_id}.txt.")
    parts = re.fullmatch(r"\[system\]\n(.*)\n\[user\]\n(.*)", known[prompt_id].read_text(encoding="utf-8").strip(), re.DOTALL)
    if not parts or any(f"{{{name}}}" not in parts[2] for name in _FIELDS):
        raise UserError(
            f"{known[prompt_id]} needs a [system] and a [user] part; the latter with {{question}}, {{reference}}, {{a}}, {{b}}."
        )
    return Prompt(parts[1], parts[2])


def parse(reply: str) -> Choice | None:
    """A, B or tie when the reply is that one word; None for anything else.

    Case, 'answer', quotes, markdown and a full stop around the word don't matter, nor does a <think> block before it.
    """
    found = _WORD.fullmatch(_THOUGHT.sub("", reply, count=1))
    if not found:
        return None
    word = found[1].lower()
    return cast(Choice, word if word == "tie" else word.upper())
