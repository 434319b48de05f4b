"""Read-only mode, LYCEUM_READ_ONLY=1: a public demo. All can be looked at, the playground answers, the blind arena takes votes.

Nothing else happens: each function that would start a process or keep something asks here first, so that no page, link or message to
the server can go round it. What visitors may do is limited for all of them together, since a session is free to make. Light.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import UserError
from core.rates import Rates

VARIABLE = "LYCEUM_READ_ONLY"
YES, NO = ("1", "true", "yes"), ("", "0", "false", "no")
LONGEST_ANSWER = 256
"""Tokens."""
LONGEST_CONVERSATION = 8_000
"""Characters of all its messages."""
AT_ONCE = 16
"""Answers that are written for visitors at the same time."""
ANSWERS_PER_MINUTE = 120
VOTES_PER_MINUTE = 120
LARGEST_VOTES_MB = 20
"""Of one round's file of votes."""

_places = threading.BoundedSemaphore(AT_ONCE)
_answers, _votes = Rates(ANSWERS_PER_MINUTE), Rates(VOTES_PER_MINUTE)
_EVERYBODY = ""


def active() -> bool:
    """Whether this process is read-only. Raises UserError for a value that says neither yes nor no: a typing error must not open a demo."""
    said = os.environ.get(VARIABLE, "").strip().lower()
    if said not in (*YES, *NO):
        raise UserError(f"{VARIABLE}={said} says neither yes nor no. Set it to 1, or unset it.")
    return said in YES


def refuse(what: str) -> None:
    """Raises UserError in read-only mode. `what`: the action as a noun, such as 'Starting a job'."""
    if active():
        raise UserError(f"{what} is off: this is a read-only demo ({VARIABLE}=1). Only the playground and the arena's votes act here.")


def longest(tokens: int) -> int:
    """How long an answer of at most `tokens` may be."""
    return min(tokens, LONGEST_ANSWER) if active() else tokens


@contextmanager
def answering(characters: int) -> Iterator[None]:
    """Within, an answer is written. `characters`: of the conversation. Raises UserError where visitors ask for too much at once."""
    if not active():
        yield
        return
    if characters > LONGEST_CONVERSATION:
        raise UserError(f"This conversation has {characters:,} characters, more than this demo's {LONGEST_CONVERSATION:,}. Begin anew.")
    if not _places.acquire(blocking=False):
        raise UserError(f"{AT_ONCE} answers are being written for visitors already. Ask again in a few seconds.")
    try:
        _count(_answers, "answers")
        yield
    finally:
        _places.release()


def voting(votes_bytes: int) -> None:
    """Raises UserError where visitors vote too fast, or a round's file of votes is full."""
    if not active():
        return
    if votes_bytes > LARGEST_VOTES_MB * 2**20:
        raise UserError(f"This round has {LARGEST_VOTES_MB} MB of votes, all that this demo takes. Ask its owner for another.")
    _count(_votes, "votes")


def _count(rates: Rates, what: str) -> None:
    if wait := rates.wait(_EVERYBODY, time.monotonic()):
        raise UserError(f"Visitors together may have {rates.per_minute} {what} a minute. Try again in {wait:.0f} s.")
