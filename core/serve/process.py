"""The engine's process: `python -m core serve`, or detached `python -m core.serve.process CONFIG` (JSON of a ServeConfig)."""

import os
import secrets
import socket
import sys
from collections.abc import Callable
from typing import Any

from core import read_only, runs
from core.config import ServeConfig
from core.config.serve import HOME_HOSTS
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
    from core.serve import guard
    from core.serve.server import Server

    guard.keys(config)
    listening = _listen(config.host, config.port)
    config = config.model_copy(update={"port": listening.getsockname()[1]})
    address, token = f"http://{_reachable(config.host)}:{config.port}", secrets.token_hex(16)
    engine, app = _engine(config, say)
    guarded = guard.guarded(app, config, token)
    here = resident.Engine(address, os.getpid(), config.base_model, runs.now(), config.engine, token, config.grace_seconds)
    word = resident.announce(here)
    engine.begin()
    opened = "" if config.host in HOME_HOSTS else f" It is open to other machines at {config.host}, port {config.port}; they need a key."
    say(f"The engine answers on {address}; OpenAI's clients find it at {address}/v1.{opened}")
    try:
        Server(guarded, config, engine).run(sockets=[listening])
    finally:
        resident.withdraw()
        engine.end()
        os.close(word)
    return address


def _engine(config: ServeConfig, say: Callable[[str], None]) -> Any:
    """Who computes, and the application before it."""
    if config.engine == "vllm":
        from core.serve.vllm import engine as vllm
        from core.serve.vllm import gateway

        made = vllm.Engine(config, say)
        return made, gateway.make(made)
    from core.serve import app, engine

    own = engine.Engine(config)
    return own, app.make(own)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024)
    except (OSError, UnicodeError) as error:
        why = (getattr(error, "strerror", None) or str(error)).partition(" (while")[0]
        raise UserError(
            f"Port {port} of {host} can't be used ({why}). Choose another, or 0 for one that is free (--port 0); host is an address of "
            "this machine."
        ) from None


def _reachable(host: str) -> str:
    """The address under which this machine itself finds the host."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{here}]" if ":" in here else here


def main(words: list[str]) -> int:
    """Detached: fork away with the lock, and let the log begin anew."""
    read_only.refuse("Starting an engine")
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
