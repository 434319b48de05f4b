"""A Ray cluster of processes on this machine: a head without CPUs, and nodes that can be killed and started again."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

RAY = Path(sys.executable).with_name("ray")
STORE = 100_000_000
"""Bytes of each node's object store."""


class Cluster:
    """Nodes by name, 'head' among them: each a `ray start --block` that is started again when it ends, as Kubernetes or systemd would."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.nodes: dict[str, subprocess.Popen] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start_head(self) -> None:
        self._start("head", "--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}")

    def start_node(self, name: str, cpus: int = 1) -> None:
        self._start(name, f"--address={self.address}", f"--num-cpus={cpus}")

    def kill(self, name: str) -> None:
        """SIGKILL to everything that a node is made of, as when its machine loses power."""
        node = self.nodes.pop(name)
        everything = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        for process in everything:
            _kill(process)
        node.wait()

    def workers(self) -> list[psutil.Process]:
        """Ray's processes that compute a hand or a judge's copy at the moment."""
        mine = [child for node in self.nodes.values() for child in psutil.Process(node.pid).children(recursive=True)]
        return [each for each in mine if re.match(r"ray::(?!IDLE|\w+Agent)", " ".join(_words(each)))]

    def stop(self) -> None:
        for name in list(self.nodes):
            self.kill(name)

    def _start(self, name: str, *options: str) -> None:
        words = [str(RAY), "start", "--block", "--disable-usage-stats", "--node-ip-address=127.0.0.1", f"--object-store-memory={STORE}"]
        again = f"while true; do {shlex.join([*words, *options])}; sleep 1; done"
        with (self.folder.parent / f"{name}.log").open("ab") as log:
            self.nodes[name] = subprocess.Popen(["bash", "-c", again], stdout=log, stderr=log, start_new_session=True, env=_environment())


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("LYCEUM", "RAY_ADDRESS", "OMP_"))}


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head and three nodes of a CPU each."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ray-") as short:  # the paths of sockets have a limit
        started = Cluster(Path(short) / "ray")
        started.folder.mkdir()
        started.start_head()
        time.sleep(3)
        for number in range(3):
            started.start_node(f"node-{number}")
        yield started
        started.stop()


@pytest.fixture
def on_ray(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """`on_ray()`: from now on jobs are submitted to the cluster."""

    def switch() -> None:
        monkeypatch.setenv("LYCEUM_EXECUTOR", "ray")
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)

    return switch
