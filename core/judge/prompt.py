"""The judge's prompt files, core/judge/prompts/<id>.txt: a head, a [system] part and a [user] part.

The head says in two lines whether the prompt needs a reference (`reference: yes` or `no`; `passages`: those that the candidate read, in its
place) and what a reply is: `reply: word` (A, B or tie) or `reply: json`. Question and reference stand before the answers, so that both
orders of a pair begin alike: servers reuse that.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from core.errors import UserError
from core.judge.backend import Comparison

PROMPTS = Path(__file__).parent / "prompts"
_FILE = re.compile(r"reference: (yes|no|passages)\nreply: (word|json)\n\[system\]\n(.*)\n\[user\]\n(.*)", re.DOTALL)
_FIELD = re.compile(r"\{(question|reference|passages|a|b)\}")


@dataclass(frozen=True)
class Prompt:
    """A system and a user message; {question}, {reference} or {passages}, {a} and {b} stand for the texts."""

    needs_reference: bool
    reply: Literal["word", "json"]
    """What the judge is asked to answer with: one word, or a JSON object with `reasons` and `verdict`."""
    system: str
    user: str
    shows_passages: bool = False
    """Whether the reference is the passages that the candidate read."""

    def messages(self, comparison: Comparison) -> list[dict[str, str]]:
        """The two chat messages of one comparison."""
        reference = comparison.reference
        texts = {"question": comparison.question, "reference": reference, "passages": reference, "a": comparison.a, "b": comparison.b}
        filled = _FIELD.sub(lambda match: texts[match[1]], self.user)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": filled}]


def load(prompt_id: str) -> Prompt:
    """The prompt of this id. Raises UserError with the known ids, or with what a file lacks."""
    known = {file.stem: file for file in sorted(PROMPTS.glob("*.txt"))}
    if prompt_id not in known:
        raise UserError(f"Unknown judge prompt '{prompt_id}'. Choose one of: {', '.join(known)}; or add {PROMPTS}/{prompt_id}.txt.")
    parts = _FILE.fullmatch(known[prompt_id].read_text(encoding="utf-8").strip())
    shown = {"yes": {"reference"}, "passages": {"passages"}, "no": set()}
    fields = {"question", "a", "b"} | (shown[parts[1]] if parts else set())
    if not parts or fields != set(_FIELD.findall(parts[4])):
        raise UserError(
            f"{known[prompt_id]} needs the lines 'reference: yes', 'no' or 'passages' and 'reply: word' or 'json', "
            "then a [system] and a [user] part; the latter with {question}, {a}, {b}, and {reference} where the head says yes, "
            "{passages} where it says passages."
        )
    reply = cast(Literal["word", "json"], parts[2])
    return Prompt(parts[1] != "no", reply, parts[3], parts[4], shows_passages=parts[1] == "passages")
