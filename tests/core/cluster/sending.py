"""What hands do in tests of the sending: workers import it."""

import os
from pathlib import Path

from core.cluster.away import Away
from core.errors import UserError


def count_up(trace: str, away: Away) -> int:
    """Send a hundred events, and note how many could be sent."""
    for number in range(1, 101):
        away.event("sent", number=number)
        Path(trace).write_text(str(number), encoding="utf-8")
    return 100


def refuse() -> None:
    raise UserError("There is no base model 'x'.")


def die() -> None:
    os._exit(1)
