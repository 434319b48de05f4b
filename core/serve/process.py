"""The engine's process: `python -m core serve`, or detached `python -m core.serve.process CONFIG` (JSON of a ServeConfig)."""

import os
import secrets
import socket
import sys
from collections.abc import Callable

from core import runs
from core.config import ServeConfig
from core.errors import UserError
from core.jobs import locks
from core.jobs.execute import heed_cpu_quota
from core.serve import resident


def run(config: ServeConfig, say: Callable[[str], None]) -> str:
    """Serve until the process is asked to end. Returns the address. Raises UserError when an engine lives already."""
    lock = locks.try_to_take(resident.LOCK)
    if lock is None:
        raise UserError("This home has an engine already, and one is enough. End it first: python -m core serve --stop")
    try:
        return _serve(config, say)
    finally:
        os.close(lock)


def _serve(config: ServeConfig, say: Callable[[str], None]) -> str:
    heed_cpu_quota()
    listening = _listen(config.port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    from core.serve import app
    from core.serve.engine import Engine

    engine = Engine(config)
    word = resident.announce(resident.Engine(address, os.getpid(), config.base_model, runs.now(), config.engine, secrets.token_hex(16)))
    engine.begin()
    say(f"The engine answers on {address}; OpenAI's clients find it at {address}/v1")
    try:
        app.Server(engine).run(sockets=[listening])
    finally:
        resident.withdraw()
        engine.end()
        os.close(word)
    return address


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        raise UserError(f"Port {port} can't be used ({error.strerror}). Choose another, or 0 for one that is free: --port 0") from None
    listening.listen()
    return listening


def main(words: list[str]) -> int:
    """Detached: fork away with the lock, and let the log begin anew."""
    lock = locks.try_to_take(resident.LOCK)
    if lock is None:
        return resident.OTHER_LIVES
    if os.fork():
        os._exit(0)
    os.truncate(resident.log(), 0)
    try:
        _serve(ServeConfig.model_validate_json(words[0]), print)
    except UserError as error:
        print(error)
        return 2
    finally:
        os.close(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
