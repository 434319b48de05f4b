"""Find, start and stop the engine of this LYCEUM_HOME: one process, which says where it is in results/.engine.json.

Where LYCEUM_ENGINE_URL names an engine elsewhere (elsewhere.py), that one is found, and neither started nor stopped from here.
That file is locked (flock) by the process that wrote it, for as long as it lives: a file that nobody holds was left by a dead one.
A second lock, results/.locks/engine.lock, lets one engine live at a time.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from core import paths, read_only
from core.config import ServeConfig
from core.errors import UserError, explained
from core.jobs import locks
from core.serve import elsewhere

LOCK = "engine"
OTHER_LIVES = 3
"""Exit status of an engine's process that found another one, starting or living."""
START_SECONDS = 120.0
STOP_SECONDS = 5.0
LOG_LINES = 3


@dataclass(frozen=True)
class Engine:
    """A living engine."""

    address: str
    """Such as http://127.0.0.1:40123."""
    pid: int
    """0: of an engine elsewhere."""
    base_model: str
    started_at: str
    kind: str = "lyceum"
    """lyceum or vllm: who computes."""
    token: str = field(default="", repr=False)
    """What this home's own processes show in place of a key; of an engine elsewhere, the key."""
    grace_seconds: float = 0.0
    """How long it lets answers under way finish when it is asked to end."""


def find() -> Engine | None:
    """The engine that lives, or None."""
    if elsewhere.address():
        found = elsewhere.find()
        return Engine(pid=0, **found) if found else None
    try:
        with _file().open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Engine(**json.load(file))
    except FileNotFoundError:
        pass
    return None


def start(config: ServeConfig | None = None) -> Engine:
    """The engine that lives, or a new one in a process of its own, once it answers.

    Raises UserError with what kept it from starting, or when one lives on another base model than `config` asks for.
    """
    if engine := find():
        return _on_base(engine, config)
    _check_ours("Starting")
    launched, until = False, time.monotonic() + START_SECONDS
    while (engine := find()) is None:
        lives = locks.held(LOCK)
        if (launched and not lives) or time.monotonic() > until:
            raise UserError(f"The engine did not start. {_last_words()}")
        if not lives:
            launched = _launch(config or ServeConfig())
        time.sleep(0.05)
    return _on_base(engine, config)


def stop() -> bool:
    """End the engine, which first finishes the answers under way, within its grace. False when there was none."""
    _check_ours("Stopping")
    engine = find()
    if engine is None:
        return False
    for how, patience in ((signal.SIGTERM, engine.grace_seconds + STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with suppress(ProcessLookupError):
            os.kill(engine.pid, how)
        until = time.monotonic() + patience
        while (left := find()) and left.pid == engine.pid and time.monotonic() < until:
            time.sleep(0.02)
        if not left or left.pid != engine.pid:
            break
    return True


def announce(engine: Engine) -> int:
    """Say where the engine is. Returns the descriptor that holds the file's lock; closing it, or dying, takes the word back."""
    temporary = paths.results() / f".engine.json.{engine.pid}"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with open(descriptor, "w", closefd=False) as file:
            json.dump(asdict(engine), file)
        os.replace(temporary, _file())
    except OSError as error:
        os.close(descriptor)
        temporary.unlink()
        error.filename = error.filename or str(_file())
        raise explained(error) from None
    return descriptor


def withdraw() -> None:
    """Take the word back, when the engine ends by itself."""
    _file().unlink(missing_ok=True)


def ours() -> bool:
    """Whether this process may start and stop the engine."""
    return not elsewhere.address() and not read_only.active()


def _check_ours(doing: str) -> None:
    read_only.refuse(f"{doing} the engine")
    if address := elsewhere.address():
        raise UserError(
            f"{elsewhere.VARIABLE} names an engine elsewhere, {address}, and it can't be started or stopped from here. "
            f"Do that on its own machine, or unset {elsewhere.VARIABLE}."
        )


def _on_base(engine: Engine, config: ServeConfig | None) -> Engine:
    if config and config.engine == "vllm" != engine.kind:
        raise UserError(
            "Lyceum's engine runs already, and one is enough. End it, then start vLLM: python -m core serve --stop, "
            "then python -m core serve --engine vllm"
        )
    if config and config.base_model != engine.base_model:
        raise UserError(
            f"An engine on base model '{engine.base_model}' runs already, and one is enough. "
            f"End it, then start one on '{config.base_model}': python -m core serve --stop"
        )
    return engine


def _file() -> Path:
    return paths.results() / ".engine.json"


def log() -> Path:
    """What a detached engine says."""
    return paths.results() / ".engine.log"


def _launch(config: ServeConfig) -> bool:
    """Start the process, which forks away once it holds the lock. False when another one was quicker."""
    log().parent.mkdir(parents=True, exist_ok=True)
    with log().open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", "core.serve.process", config.model_dump_json()],
            cwd=paths.PROJECT,
            env={"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | os.environ | paths.environment() | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return done.returncode != OTHER_LIVES


def _last_words() -> str:
    lines = [line for line in log().read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " ".join(lines[-LOG_LINES:]) or _why_silent()


def _why_silent() -> str:
    """On a full disk even the log stays empty."""
    silent = "It said nothing; try it in a terminal: python -m core serve"
    try:
        log().write_text(silent, encoding="utf-8")
    except OSError as error:
        error.filename = str(log())
        return str(explained(error))
    return silent
