"""What the addresses ask of whoever computes behind them: Lyceum's own engine (engine.py), or vLLM's (vllm/engine.py)."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from core.config import ServeConfig
from core.serve.mixes import Mixes
from core.serve.pace import Pace
from core.serve.rows import Ask
from core.serve.stream import Stream


class Computing(Protocol):
    """An engine. Its methods may be called from any thread, `answer` within an event loop."""

    config: ServeConfig
    started: int
    """Unix time."""
    device: torch.device
    tokenizer: Any
    context: int | None
    """Tokens that the base model can see."""

    def __hash__(self) -> int: ...

    @property
    def mixes(self) -> Mixes:
        """Makes what requests ask for into plans."""

    @property
    def pace(self) -> Pace:
        """How fast all answers are being written."""

    @property
    def loaded(self) -> bool:
        """Whether the base model is in memory."""

    @property
    def state(self) -> tuple[str, str]:
        """starting, ready, restarting, asleep, making_room or ending; and what that means, in a sentence."""

    @property
    def busy(self) -> str:
        """Why answers are late or can't be had now, in a sentence; empty: they can."""

    @property
    def beside_jobs(self) -> bool:
        """Whether it answers even while it is busy."""

    @property
    def in_bank(self) -> dict[str, int]:
        """Adapters in the device's memory, by name, with their ranks."""

    @property
    def under_way(self) -> int:
        """Answers that are not finished."""

    @property
    def waiting(self) -> int:
        """Of these, the ones that have no place yet."""

    def answer(self, stream: Stream, asks: Sequence[Ask]) -> None:
        """Answer all of `asks`, told to `stream`."""

    def hang_up(self, stream: Stream) -> None:
        """Nobody reads this stream any more."""
