"""A worker's side: computes one hand in a home of its own, and sends back what it makes.

The home is a temporary folder, laid out like LYCEUM_HOME, so that what computes here is what computes on one machine.
It is gone with the hand; that of a killed worker is removed by the next hand on its machine.
"""

import fcntl
import os
import pkgutil
import platform
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any, ClassVar

from core.runs import Run
from core.workspace import Workspace

HOMES = f"lyceum-hands-{os.getuid()}"
"""Folder of this user's homes, in the machine's folder for temporary files."""
MESSAGE_BYTES = 64 << 20
"""Files of one message, about."""
UNSENT = 4
"""Messages that wait for the driver before the worker waits."""

Message = tuple[str, Any]
"""began, event, files or done, and what belongs to it."""
Files = dict[str, bytes | None]
"""Contents by path; None: removed."""


@dataclass(frozen=True)
class Shipment:
    """A hand as it travels."""

    run: Run
    target: str
    """`module:function` taking (payload, Away)."""
    payload: Any
    begun: Mapping[str, bytes]
    """What an earlier try has sent, by its path in the run's folder."""
    home: Mapping[str, bytes]
    """Files that the hand reads, by their path in the home."""


@dataclass(frozen=True)
class Away(Workspace):
    """What a hand writes with: events go to the driver, files when they are `kept`."""

    KEEP_SECONDS: ClassVar[float] = 10.0
    send: Callable[[Message], None] = field(default=lambda _: None)
    sent: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Size and time of each file when it was sent."""

    def event(self, kind: str, **values: Any) -> None:
        """To the driver alone."""
        self.send(("event", (kind, values)))

    def say(self, message: str) -> None:
        """One line for the person who watches."""
        self.event("say", message=message)

    def kept(self) -> None:
        """Send what has changed in the run's folder since the last time: a hand that is tried again starts from there."""
        stamps = self.stamps()
        changed: Files = {}
        held = 0
        for name in sorted(stamps, key=lambda name: (name.endswith("run.json"), name)):  # it says that a folder is whole
            if self.sent.get(name) != stamps[name]:
                changed[name] = (self.path / name).read_bytes()
                held += stamps[name][0]
            if held > MESSAGE_BYTES:
                self.send(("files", changed))
                changed, held = {}, 0
        changed |= dict.fromkeys(set(self.sent) - set(stamps))
        if changed:
            self.send(("files", changed))
        self.sent.clear()
        self.sent.update(stamps)

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size and time of each file in the run's folder."""
        files = [file for file in self.path.rglob("*") if file.is_file()]
        return {str(file.relative_to(self.path)): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def work(shipment: Shipment) -> Iterator[Message]:
    """Compute a hand. Yields messages as they come; what the function raises is raised here."""
    with own_home() as home:
        for place, content in shipment.home.items():
            _lay(home / place, content)
        messages: Queue[Message] = Queue(UNSENT)
        away = Away(shipment.run, send=messages.put)
        away.path.mkdir(parents=True)
        for place, content in shipment.begun.items():
            _lay(away.path / place, content)
        away.sent.update(away.stamps())
        yield "began", {"host": platform.node(), "pid": os.getpid()}
        threading.Thread(target=_compute, args=(shipment, away, messages), daemon=True).start()
        while True:
            kind, value = messages.get()
            if kind == "raised":
                raise value
            yield kind, value
            if kind == "done":
                return


def sweep() -> None:
    """Remove the homes of workers that are gone."""
    with _held(_homes()):
        for home in _homes().iterdir():
            with suppress(BlockingIOError), _held(home, fcntl.LOCK_NB):
                shutil.rmtree(home, ignore_errors=True)


@contextmanager
def own_home() -> Iterator[Path]:
    """A home for this process until the end of the block. Its lock is gone with the process, however that ends."""
    sweep()
    with ExitStack() as stack:
        with _held(_homes()):
            home = Path(tempfile.mkdtemp(dir=_homes()))
            stack.enter_context(_held(home))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        os.environ["LYCEUM_HOME"] = str(home)
        yield home


def _compute(shipment: Shipment, away: Away, messages: "Queue[Message]") -> None:
    try:
        result = pkgutil.resolve_name(shipment.target)(shipment.payload, away)
        away.kept()
        messages.put(("done", result))
    except BaseException as error:
        messages.put(("raised", error))


def _homes() -> Path:
    homes = Path(tempfile.gettempdir()) / HOMES
    homes.mkdir(exist_ok=True)
    return homes


@contextmanager
def _held(folder: Path, how: int = 0) -> Iterator[None]:
    """Within: a folder's lock. Raises BlockingIOError with `how` LOCK_NB where another process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(descriptor)


def _lay(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
