"""What a judge is: something that is shown two nameless answers and a reference, and says which answer is closer to it.

To add a judge: one class with `name` and `compare` in its own file, and its row in core/judge/__init__.py.
Orders, verdicts, the memory of replies and the run stand once, in run.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Choice = Literal["A", "B", "tie"]
OnRetry = Callable[[str, float], None]
"""Told the reason and the seconds before a call is tried again."""


@dataclass(frozen=True)
class Comparison:
    """What a judge sees. The models are not named: answer A is the one shown first."""

    question: str
    reference: str
    a: str
    b: str


@dataclass(frozen=True)
class Reply:
    """What a judge said."""

    text: str
    choice: Choice | None
    """None: the reply is not one of the words that were asked for."""
    tokens: int | None = None
    reason: str = ""
    """Why there is no choice."""


class Backend(Protocol):
    """A judge. Its class is called with (JudgeConfig, OnRetry) and raises UserError when it can't be reached."""

    name: str
    """Who judges, for tables and charts."""
    prompt: str
    """Id of the prompt that it reads; empty for a judge without one."""

    def identity(self, comparison: Comparison) -> list[Any]:
        """Everything that the reply depends on, JSON-able and without keys: the same identity is never asked twice."""
        ...

    def compare(self, comparison: Comparison) -> Reply:
        """Ask once. Called from several threads. Raises core.models.chat.CallFailed when no reply came."""
        ...
