"""The store as files at a URL, through fsspec. Nothing here waits: whoever calls goes through away.ask."""

import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core import paths
from core.errors import UserError, shown
from core.store.marker import KINDS, PREFIX, Thing

CONNECT_SECONDS, ANSWER_SECONDS = 5, 20
"""How long a connection, and each silence of the server, may last."""
ENVIRONMENT = ("AWS_", "FSSPEC_")
"""How environment variables begin that say where a store is and who may use it."""
S3 = ("s3", "s3a")
WHOLE = (*S3, "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "r2", "hf")
"""Protocols whose objects appear whole or not at all. On others a marker appears by rename."""


@dataclass(frozen=True)
class Remote:
    """A store. Keys are relative to its URL."""

    fs: Any
    """fsspec's file system."""
    base: str
    whole: bool

    def folder(self) -> Path | None:
        """Where it lies on this machine; None where it doesn't."""
        return Path(self.base).resolve() if "file" in self.fs.protocol else None

    def markers(self) -> dict[Thing, str]:
        """Every marker, and a text that changes whenever it is written anew: one request for a thousand."""
        if not self.whole and not self.fs.isdir(self.base):
            raise UserError(f"There is no folder {self.base}. Make it, or mount it; or mend LYCEUM_HOME.")
        found: dict[Thing, str] = {}
        start = len(self._at(PREFIX)) + 1
        for path, info in self.fs.find(self._at(PREFIX), detail=True).items():
            kind, _, file = path[start:].rpartition("/")
            if kind in KINDS and file.endswith(".json") and paths.is_name(file[:-5]):
                found[Thing(kind, file[:-5])] = token(info)
        return found

    def read(self, key: str) -> bytes:
        """A small file. Raises FileNotFoundError."""
        content: bytes = self.fs.cat_file(self._at(key))
        return content

    def write(self, key: str, content: bytes, new: bool = False) -> None:
        """Write a small file: it appears whole. `new`: raises FileExistsError when there is one, where the store can tell in one step."""
        place = self._at(key)
        if self.whole:
            try:
                self.fs.pipe_file(place, content, mode="create" if new else "overwrite")
            except OSError as error:
                if new and "PreconditionFailed" in str(getattr(error.__cause__, "response", "")):
                    raise FileExistsError(key) from None
                raise
            return
        folder, _, name = place.rpartition("/")
        temporary = f"{folder}/.{name}.{secrets.token_hex(4)}"
        self.fs.makedirs(folder, exist_ok=True)
        self.fs.pipe_file(temporary, content)
        self.fs.mv(temporary, place)

    def upload(self, files: Mapping[str, Path]) -> None:
        """Bring files up, by key."""
        if not self.whole:
            for folder in {self._at(key).rpartition("/")[0] for key in files}:
                self.fs.makedirs(folder, exist_ok=True)
        self.fs.put([str(path) for path in files.values()], [self._at(key) for key in files])

    def download(self, files: Mapping[str, Path]) -> None:
        """Bring files down, by key. Raises FileNotFoundError."""
        for path in files.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        self.fs.get([self._at(key) for key in files], [str(path) for path in files.values()])

    def sizes(self, key: str) -> dict[str, tuple[int, float]]:
        """Size in bytes and time of each file under a key, by its key."""
        found = self.fs.find(self._at(key), detail=True)
        start = len(self.base) + 1
        return {path[start:]: (info["size"], _time(info)) for path, info in found.items() if info["type"] == "file"}

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files; what is gone already is no error."""
        for key in keys:
            try:
                self.fs.rm_file(self._at(key))
            except FileNotFoundError:
                continue

    def _at(self, key: str) -> str:
        return f"{self.base}/{key}"


def connect() -> Remote:
    """The store of LYCEUM_HOME. Nothing is asked of it yet. Raises UserError for a URL that no library here can open."""
    url = paths.store()
    assert url, "LYCEUM_HOME is a URL where a store is asked for"
    return _connect(url, os.getpid(), tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(ENVIRONMENT))))


@lru_cache(4)
def _connect(url: str, _process: int, _environment: tuple[tuple[str, str], ...]) -> Remote:
    fs, base = filesystem(url)
    protocol = url.partition("://")[0].lower()
    return Remote(fs, base.rstrip("/"), protocol in WHOLE)


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, with time-outs and without caches, and the path in it."""
    import fsspec

    protocol = url.partition("://")[0].lower()
    if protocol == "memory":
        raise UserError("memory:// is gone when its process ends, so it can't be a store. Give s3://bucket/folder or file:///folder.")
    times = {"connect_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS, "retries": {"max_attempts": 0}}
    options: dict[str, Any] = {"config_kwargs": times} if protocol in S3 else {}
    try:
        fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **options)
    except (ImportError, ValueError) as error:
        raise UserError(f"{shown(protocol)}:// can't be opened: {error}. Give s3://bucket/folder, or file:///folder.") from None
    if protocol in S3:
        fs.retries = 1  # away.ask tries again, and says so
    return fs, path


def token(info: Mapping[str, Any]) -> str:
    """A text that changes whenever a file is written anew."""
    return str(info.get("ETag") or info.get("etag") or f"{info.get('ino', '')} {_time(info)} {info.get('size')}")


def _time(info: Mapping[str, Any]) -> float:
    """Unix time of a file's last change, as its store tells it."""
    said = info.get("LastModified") or info.get("last_modified") or info.get("mtime") or info.get("updated") or 0.0
    return float(said.timestamp() if hasattr(said, "timestamp") else said)
