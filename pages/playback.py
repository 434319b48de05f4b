"""What the engine streams, read in a thread of its own: a page looks at what has come so far and never waits for more.

Streamlit lets a running script end before it handles a slider in a fragment, so a script that read the stream itself would hold it up.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import streamlit as st

from core.errors import UserError

UNSEEN_SECONDS = 15.0
"""After so long without a look the page has been left, and the stream is closed."""

Event = dict[str, Any]


class Playback:
    """The events of one request, in the order they came."""

    def __init__(self, asked: Any, read: Callable[[], Iterator[Event]], start: Any = None) -> None:
        self.asked = asked
        """What was asked for; the same again needs no new stream."""
        self.start = start
        """What stood there before its first event."""
        self.events: list[Event] = []
        self.error: str | None = None
        """One sentence, when it broke off."""
        self.done = False
        self.began = time.monotonic()
        self.first: float | None = None
        """Seconds to the first piece of an answer, or the first loss."""
        self.left = False
        """Closed before its end, because nobody looked."""
        self.dropped = False
        """Nobody wants the rest."""
        self._fault: BaseException | None = None
        self._looked = self.began
        threading.Thread(target=self._read, args=(read,), daemon=True).start()

    @property
    def age(self) -> float:
        """Seconds since it was asked for."""
        return time.monotonic() - self.began

    def look(self) -> list[Event]:
        """The events so far. A fault of the program is raised here, where it is seen."""
        self._looked = time.monotonic()
        if self._fault:
            raise self._fault
        return list(self.events)

    def drop(self) -> None:
        """Nobody wants the rest."""
        self.dropped = True

    def _read(self, read: Callable[[], Iterator[Event]]) -> None:
        events = read()
        try:
            for event in events:
                if self.dropped or time.monotonic() - self._looked > UNSEEN_SECONDS:
                    self.left = True
                    break
                if self.first is None and ("text" in event or "loss" in event):
                    self.first = time.monotonic() - self.began
                self.events.append(event)
        except UserError as error:
            self.error = str(error)
        except Exception as error:
            self._fault = error
        finally:
            events.close()  # type: ignore[attr-defined]
            self.done = True


def playing(slot: str) -> Playback | None:
    """What plays, or has played, in a slot of this browser's session."""
    found: Playback | None = _slots().get(slot)
    return found


def play(slot: str, asked: Any, read: Callable[[], Iterator[Event]], start: Any = None) -> Playback:
    """Ask for something in a slot, unless just this was asked for there; what played before is let go."""
    before = playing(slot)
    if before and before.asked == asked and not before.left:
        return before
    if before:
        before.drop()
    _slots()[slot] = Playback(asked, read, start)
    return _slots()[slot]


def clear(*slots: str) -> None:
    """Forget slots (all without a name), so that what they hold is asked for anew."""
    for slot in slots or tuple(_slots()):
        if found := _slots().pop(slot, None):
            found.drop()


def session() -> str:
    """What tells this browser's session from others."""
    return str(st.session_state.setdefault("playback.session", secrets.token_hex(8)))


def going(slots: Sequence[str]) -> bool:
    """Whether something is still on its way."""
    return any(found and not found.done and not found.dropped for found in map(playing, slots))


def troubles(slots: Sequence[str]) -> list[str]:
    """What broke off, in sentences."""
    return list(dict.fromkeys(found.error for found in map(playing, slots) if found and found.error))


def _slots() -> dict[str, Playback]:
    found: dict[str, Playback] = st.session_state.setdefault("playback", {})
    return found
