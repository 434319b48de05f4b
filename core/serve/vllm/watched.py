"""vLLM's process: started, waited for, and started again when it dies or no longer answers."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

from core.errors import UserError
from core.serve.vllm import keeper
from core.serve.vllm.command import Command
from core.wording import count, duration

State = Literal["starting", "ready", "asleep", "making_room", "restarting", "ending"]
PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds before the next start; the last one goes on."""
STEADY_SECONDS = 300.0
"""A process that lived this long has begun well: the pauses begin anew after it."""
LOOK_SECONDS = 0.5
ASK_SECONDS = 5.0
"""How often a process that lives is asked whether it is well."""
SILENT_SECONDS = 60.0
"""A process that has not answered for so long is ended."""
GRACE_SECONDS = 10.0
"""What it may take to end when it is asked to."""
_STAMP = re.compile(r"^(\(\w+ pid=\d+\))? *([A-Z]+ \d\d-\d\d [\d:]+ \[[^]]*\])?")
"""What vLLM's log puts before a line."""
_ERROR = re.compile(r"\b\w*(Error|Exception): \S")
LOG_LINES = 5
LOG_BYTES = 1 << 16
"""As much of the log's end is read."""
_STEPS = (
    ("Starting vLLM server", "opening its doors"),
    ("KV cache size", "making room for keys and values"),
    ("Loading weights took", "getting ready"),
    ("Loading safetensors", "loading the weights"),
    ("Initializing a V1 LLM engine", "starting its worker"),
    ("non-default args", "reading the model's config"),
)
"""What it is at, by the newest of these in its log."""


class Watched:
    """Watches from a thread of its own."""

    def __init__(
        self,
        make: Callable[[], Command],
        warm: Callable[[Command], None],
        wanted: Callable[[], State],
        log: Path,
        say: Callable[[str], None],
    ) -> None:
        """`make`: the command of each start; `warm` is called before it is ready; `wanted`: ready, asleep or making_room."""
        self._make, self._warm, self._log, self._say = make, warm, log, say
        self._wanted = wanted
        self.command: Command | None = None
        """Of the process that lives."""
        self.restarts = 0
        """Starts after a death."""
        self.state: State = "starting"
        self._why = ""
        """Of the last death: what vLLM did."""
        self._ending = False
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._next = time.monotonic()
        self._log_start = 0
        """Where the log of this start begins."""
        self._failures = 0
        self._heard = 0.0
        self._stir = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vllm", daemon=True)

    @property
    def said(self) -> str:
        """What is going on, in a sentence."""
        lived = duration(time.monotonic() - self._began)
        if self.state == "ready":
            again = f" It was started again {count(self.restarts, 'time')}, last when it {self._why}." if self.restarts else ""
            return f"vLLM answers.{again}"
        if self.state == "starting":
            return f"vLLM is starting: {self._step()} ({lived}; a minute or two on a CPU)."
        if self.state == "restarting":
            left = self._next - time.monotonic()
            doing = f"It starts again in {duration(left)}." if left > 0 else f"It is starting again: {self._step()} ({lived})."
            return f"vLLM {self._why}. {doing}"
        return {
            "asleep": "vLLM sleeps, since nobody has asked for long; the next question starts it.",
            "making_room": "A job has the GPU. vLLM has made room for it, and starts again when the job is done.",
            "ending": "vLLM is ending.",
        }[self.state]

    @property
    def log_lines(self) -> list[str]:
        """The last lines of its log."""
        return self._lines()[-LOG_LINES:]

    @property
    def processes(self) -> list[psutil.Process]:
        """Ours, and those of vLLM that live."""
        us = psutil.Process()
        return [us, *us.children(recursive=True)]

    def begin(self) -> None:
        """Start it."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.write_bytes(b"")
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Until it is ready, or the time is over. Whether it is."""
        until = time.monotonic() + seconds
        while self.state != "ready" and self._thread.is_alive() and time.monotonic() < until:
            time.sleep(0.05)
        return self.state == "ready"

    def end(self) -> None:
        """End it for good."""
        self._ending = True
        self._stir.set()
        if process := self._process:
            _hang_up(process)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ending:
            wanted = self._wanted()
            if wanted != "ready":
                self._stop()
                self.state = wanted
            elif self._process is None and time.monotonic() >= self._next:
                self._start()
            elif self._process:
                self._look()
            self._stir.wait(LOOK_SECONDS)
        self.state = "ending"
        self._stop()

    def _start(self) -> None:
        try:
            self.command = self._make()
        except UserError as error:
            return self._died(f"can't be started ({str(error).rstrip('.')})")
        self.state = "restarting" if self.state == "restarting" else "starting"
        self._began = self._heard = time.monotonic()
        self._log_start = self._log.stat().st_size
        words = [sys.executable, str(keeper.__file__), str(GRACE_SECONDS), *self.command.words]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                words, env=self.command.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )

    def _look(self) -> None:
        """Notice what became of the process."""
        assert self._process and self.command
        if self._process.poll() is not None:
            return self._died(self._last_words())
        now = time.monotonic()
        if self.state == "ready" and now - self._began > STEADY_SECONDS:
            self._failures = 0
        if self.state == "ready" and now - self._heard < ASK_SECONDS:
            return
        said = health(self.command.socket)
        if said == 200:
            self._heard = time.monotonic()
            if self.state != "ready":
                self._ready(self.command)
        elif self.state == "ready" and (said is not None or now - self._heard > SILENT_SECONDS):
            self._died(f"was not well any more (status {said})" if said else f"did not answer for {duration(now - self._heard)}")

    def _ready(self, command: Command) -> None:
        try:
            self._warm(command)
        except Exception as error:
            return self._died(f"started, and failed at its first answer ({error}): {self._fault()}")
        self.state = "ready"
        self._say(f"vLLM answers, {duration(time.monotonic() - self._began)} after its start.")

    def _died(self, why: str) -> None:
        """Clear up after a death, and say when it starts again."""
        self._stop()
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        self.restarts += 1
        self._why, self._next, self.state = why, time.monotonic() + pause, "restarting"
        self._say(f"vLLM {why}. It starts again in {duration(pause)}.")

    def _last_words(self) -> str:
        """How the process ended."""
        assert self._process and self._process.stdout
        said = self._process.stdout.read().strip()
        status = int(said) if said else -signal.SIGKILL
        how = f"was killed ({signal.Signals(-status).name})" if status < 0 else f"ended with status {status}"
        when = "" if self.state == "ready" else " while it was starting"
        return f"{how}{when}" + ("" if status < 0 else f": {self._fault()}")

    def _fault(self) -> str:
        """The first error in the log, which later ones follow from; else its last line."""
        found = (
            [line for line in self._lines() if _ERROR.search(line) and "WARNING" not in line][:1]
            or self.log_lines[-1:]
            or ["it said nothing"]
        )
        return _STAMP.sub("", found[0]).strip().rstrip(".")[:300]

    def _step(self) -> str:
        log = "\n".join(self._lines())
        found = {doing: log.rfind(mark) for mark, doing in _STEPS}
        doing = max(found, key=lambda each: found[each])
        return doing if found[doing] >= 0 else "reading its libraries"

    def _lines(self) -> list[str]:
        """The newest lines of the log since the start."""
        if not self._log.exists():
            return []
        with self._log.open("rb") as file:
            file.seek(max(self._log_start, self._log.stat().st_size - LOG_BYTES))
            return [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]

    def _stop(self) -> None:
        """End the process, gracefully first, and whatever it has left behind."""
        if self._process is None:
            return
        _hang_up(self._process)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS + 2)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        if self.command:
            self.command.socket.unlink(missing_ok=True)
        self._process = None


def health(place: Path) -> int | None:
    """The status that the server behind a socket file gives itself; None: it gives none."""
    connection = http.client.HTTPConnection("localhost", timeout=ASK_SECONDS)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(ASK_SECONDS)
        connection.sock.connect(str(place))
        connection.request("GET", "/health")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _hang_up(process: "subprocess.Popen[bytes]") -> None:
    """Close what tells the keeper that we live."""
    assert process.stdin
    with suppress(BrokenPipeError):
        process.stdin.close()
