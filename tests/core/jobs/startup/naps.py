"""A verb for tests of jobs: it sleeps, notes when, and ends as told. Child processes know it through sitecustomize.py."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from core import paths
from core.config import Config, DemoConfig
from core.errors import UserError
from core.verbs import Verb
from core.workspace import Workspace


class NapConfig(Config):
    """Sleep."""

    seconds: float = 0.0
    """How long."""
    end: str = "done"
    """done, user error, bug, or deaf (does not hear SIGTERM, nor does its child process)."""
    other_end: str = ""
    """How the second of several processes ends at first, while the first one naps: user error, bug or killed."""
    read: str = ""
    """A file to read, relative to where the job was submitted."""
    wait_for: str = ""
    """A file whose appearance ends the sleep."""
    publish: str = ""
    """Name of an adapter folder to publish before sleeping."""


def run(config: NapConfig, workspace: Workspace) -> dict[str, Any]:
    """Note the start, leave half-made things behind, sleep, note the end."""
    if os.environ.get("RANK") == "1":
        return _nap_beside(config)
    _note("start", workspace)
    print("about to sleep")
    tries = len((workspace.scratch / "tries").read_text()) if (workspace.scratch / "tries").exists() else 0
    (workspace.scratch / "tries").write_text("x" * (tries + 1))
    (workspace.path / "half.csv").write_text("half")
    if config.publish:
        made = workspace.scratch / config.publish
        made.mkdir()
        (made / "run.json").write_text(f'{{"run_id": "{workspace.run.run_id}"}}')
        workspace.publish(made, paths.adapters() / config.publish)
    if config.end == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "60"])
    workspace.progress(0, config.seconds, "seconds")
    until = time.monotonic() + config.seconds
    while time.monotonic() < until and not (config.wait_for and Path(config.wait_for).exists()):
        time.sleep(0.02)
    workspace.progress(config.seconds, config.seconds, "seconds")
    if config.end == "user error":
        raise UserError("The bed is too short (1 m). Take a longer one.")
    if config.end == "bug":
        raise ZeroDivisionError("no bed at all")
    _note("end", workspace)
    return {"tries": tries + 1, "key": os.environ.get("GROQ_API_KEY"), "text": Path(config.read).read_text() if config.read else ""}


def _nap_beside(config: NapConfig) -> dict[str, Any]:
    if config.other_end == "user error":
        raise UserError("The other bed is too short.")
    if config.other_end == "bug":
        raise ZeroDivisionError("no other bed")
    if config.other_end == "killed" and not (paths.home() / "killed once").exists():
        (paths.home() / "killed once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(config.seconds)
    return {}


def _note(what: str, workspace: Workspace) -> None:
    with (paths.home() / "trace.txt").open("a") as file:
        file.write(f"{what} {workspace.run.run_id} {time.time()}\n")


NAPS = {
    "nap": Verb(NapConfig, "naps:run", "device"),
    "desk-nap": Verb(NapConfig, "naps:run", "desk"),
    "shared-nap": Verb(NapConfig, "naps:run", "device", shared=True),
    "tiny-demo": Verb(DemoConfig, "tiny_study:demo", "device"),
}
