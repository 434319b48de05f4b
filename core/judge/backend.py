"""What a judge is: something that is shown two nameless answers, and says which of them is better.

To add a judge: one class in its own file, and its row in core/judge/__init__.py.
Orders, limits, budgets, the memory of replies and the verdicts stand once, outside.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from core.models.pace import Pace

Choice = Literal["A", "B", "tie"]
OnRetry = Callable[[str, float], None]
"""Told the reason and the seconds before a call is tried again."""


@dataclass(frozen=True)
class Comparison:
    """What a judge sees. The models are not named: answer A is the one shown first."""

    question: str
    reference: str
    """Or the passages in its place, where the prompt shows those."""
    a: str
    b: str


@dataclass(frozen=True)
class Tokens:
    """Tokens of a call."""

    prompt: int
    reply: int

    @property
    def total(self) -> int:
        """Prompt and reply together."""
        return self.prompt + self.reply


NONE = Tokens(0, 0)


@dataclass(frozen=True)
class Reply:
    """What a judge said, word for word."""

    text: str
    finish: str = "stop"
    """stop, or length when the reply was cut at the token budget."""
    prompt_tokens: int | None = None
    reply_tokens: int | None = None

    @property
    def tokens(self) -> Tokens | None:
        """What it took; None where nobody counted."""
        return None if self.prompt_tokens is None or self.reply_tokens is None else Tokens(self.prompt_tokens, self.reply_tokens)


@dataclass(frozen=True)
class Reading:
    """What a reply means."""

    choice: Choice | None
    """None: the reply is not what was asked for."""
    reason: str = ""
    """Why there is no choice."""
    rationale: str = ""
    """The judge's reasons, where the prompt asks for them."""


class Backend(ABC):
    """A judge. Its class is called with (JudgeConfig, judge_model or None, OnRetry); it touches no network and no weights before `open`."""

    name: str
    """Who judges, for tables and charts."""
    prompt: str = ""
    """Id of the prompt that it reads; empty for a judge without one."""
    needs_reference: bool = True
    """Whether a pair without a reference can't be judged."""
    provider: str = ""
    """Whose limits on requests and tokens count; empty: nobody's."""
    pace: Pace | None = None
    """Those limits, at work."""
    weights: bool = False
    """Whether it computes by itself: on a cluster, every worker then has one."""
    at_once: int | None = None
    """Most calls that may be under way; None: as many as the config says."""

    @abstractmethod
    def identity(self, comparison: Comparison) -> list[Any]:
        """Everything that the reply depends on, JSON-able and without keys: the same identity is never asked twice."""

    def open(self) -> None:  # noqa: B027 - not every judge has something to open
        """Get ready: reach the server and check the model, load weights. Called once before the first `ask`. Raises UserError."""

    def likely(self, comparison: Comparison) -> Tokens:
        """What asking will take, about."""
        return NONE

    def most(self, comparison: Comparison) -> Tokens:
        """What asking can take at most."""
        return NONE

    @abstractmethod
    def ask(self, comparison: Comparison) -> Reply:
        """Ask once. Called from several threads. Raises core.models.chat.CallFailed when no reply came."""

    @abstractmethod
    def read(self, reply: Reply) -> Reading:
        """What a reply means, the same for a reply of today and one that was kept."""

    def close(self) -> None:  # noqa: B027 - nor to close
        """Let go of servers and weights."""
