"""S3-compatible servers for tests, each a process of its own that can be killed, stopped and started again: `with SeaweedFS(folder) as s3`.

SeaweedFS 4.48 is a production server: signatures v4, multipart uploads, pages of listings, conditional PUT, names of buckets as Amazon
wants them. nanio 0.1.7 is a small one in Python over plain folders, which checks signatures and has multipart; a conditional PUT it heeds
not. Both keep what they have when they are killed.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY, SECRET, BUCKET = "lyceum-test", "not-a-secret-of-anybody", "lyceum"
START_SECONDS = 60.0
WEED = Path(sys.executable).with_name("weed")


class Server:
    """A server over a folder, on a port of its own, with one bucket."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_ports(1)[0]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        self.start()
        make_bucket(self.client())
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What it needs to know."""
        return {}

    def start(self) -> None:
        """Start it, on the port that it had, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, env=os.environ | self.environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        until = time.monotonic() + START_SECONDS
        while not self.answers():
            assert time.monotonic() < until, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it lists its buckets."""
        try:
            self.client().ls("")
            return True
        except Exception:
            return False

    def kill(self) -> None:
        """SIGKILL, as a machine that loses its power."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Stop answering, without closing anything."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def keys(self, **other: str) -> dict[str, str]:
        """The environment of who uses it."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": self.endpoint, **other}

    def client(self) -> Any:
        """s3fs itself, to look at what lies there."""
        import s3fs

        times = {"connect_timeout": 2, "read_timeout": 5, "retries": {"max_attempts": 0}}
        fs = s3fs.S3FileSystem(
            key=KEY, secret=SECRET, endpoint_url=self.endpoint, use_listings_cache=False, skip_instance_cache=True, config_kwargs=times
        )
        fs.retries = 1
        return fs


class SeaweedFS(Server):
    """Master, volume server, filer and S3 gateway in one process. It tells nobody of itself."""

    name = "SeaweedFS"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ports = free_ports(7)
        identity = {"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write", "List"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir(exist_ok=True)

    def command(self) -> list[str]:
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port.grpc")
        ports = [f"-{name}={port}" for name, port in zip(names, self.ports, strict=True)]
        return [
            *(str(WEED), "-logtostderr=true", "server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
            *("-filer", "-s3", "-s3.config=s3.json", "-s3.autoCreateBucket=false", "-s3.iam=false", f"-s3.port={self.port}", *ports),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=20", "-master.volumeSizeLimitMB=200", "-volume.preStopSeconds=0"),
        ]


class Nanio(Server):
    """One process over a folder: buckets are folders, objects are files."""

    name = "nanio"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "nanio", "serve", "--host", "127.0.0.1", "--port", str(self.port), "--data-dir", "data"]

    def environment(self) -> Mapping[str, str]:  # type: ignore[override]
        return {"NANIO_ACCESS_KEY": KEY, "NANIO_SECRET_KEY": SECRET}


def make_bucket(fs: Any) -> None:
    """The bucket; a server that has just started may need a moment."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            if not fs.exists(BUCKET):
                fs.mkdir(BUCKET)
            fs.pipe_file(f"{BUCKET}/.ready", b"yes")
            fs.rm_file(f"{BUCKET}/.ready")
            return
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


SERVERS: list[type[Server]] = [*([SeaweedFS] if WEED.exists() or shutil.which("weed") else []), Nanio]
"""The first of them in every run of the tests, the others in the slow ones."""
