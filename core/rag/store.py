"""The folder of an index: which one it is, who may use it when, and the documents as they were last read and cut.

An index lies under the cache, in a folder named after everything that decides it. `documents.json` holds texts and the places of passages,
`passages.lance` the vectors. Two locks stand beside the folder: one for who builds, one that everybody shares who reads.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from core import paths
from core.config.rag import IndexConfig
from core.errors import UserError
from core.rag.documents import File

_FORMAT = "1"
"""Raise it when reading or cutting changes: older indexes are then no longer used."""


@dataclass(frozen=True)
class Record:
    """A file with the places of its passages."""

    file: File
    passages: list[list[int]] = field(default_factory=list)
    """Start, end, tokens, and the place of its section in `sections`."""
    sections: list[list[int]] = field(default_factory=list)
    """Start, end, tokens."""


def passage_id(document: str, start: int, text: str) -> str:
    """16 hex digits: the same for the same document, place and text."""
    return hashlib.sha256(f"{document}\0{start}\0{text}".encode()).hexdigest()[:16]


def folder(config: IndexConfig) -> Path:
    """Where the index of these documents, cut and embedded so, lies."""
    decides = [_FORMAT, str(paths.data_file(config.docs_dir).resolve()), config.chunker, config.chunk_size, config.chunk_overlap]
    decides += [config.parent_size, _encoder(config)]
    return paths.cache() / "rag" / hashlib.sha256(json.dumps(decides).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _encoder(config: IndexConfig) -> str:
    """What tells encoders apart: a package's version, a folder's files, a hub id's commit, a server's URL and model."""
    from core.models.embed import BUNDLED, encoder_folder

    if config.embedding_url is not None:
        if config.encoder == "bundled":
            raise UserError(
                "embedding_url is set, but encoder is 'bundled'. Name the server's model, as in encoder=text-embedding-3-small."
            )
        return f"{config.embedding_url} {config.encoder}"
    if config.encoder == "bundled":
        return BUNDLED
    place = encoder_folder(config.encoder)
    if isinstance(place, Path):
        return json.dumps([str(place.resolve()), sorted(files(place).items())])
    return _commit(place)


def _commit(hub_id: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        config = Path(hf_hub_download(hub_id, "config.json"))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise UserError(
            f"The encoder '{hub_id}' can't be found ({str(error).strip().splitlines()[0]}). "
            "Give 'bundled' (works offline), a folder that holds an encoder, or a hub id that this machine can reach."
        ) from None
    return f"{hub_id} {config.parent.name}"


def files(folder: Path) -> dict[str, list[int]]:
    """Size and time of last change of all files below a folder: they say whether anything in it changed."""
    found = {}
    for each in folder.rglob("*"):
        if each.is_file():
            seen = each.stat()
            found[str(each.relative_to(folder))] = [seen.st_size, seen.st_mtime_ns]
    return found


@contextmanager
def building(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One process at a time builds an index, or looks whether it has to be; the others wait, and say so."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another process works on this index: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def reading(folder: Path) -> IO[str]:
    """A file that, while it is open, keeps what this index reads from being cleaned away."""
    lock = folder.with_suffix(".readers").open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


@contextmanager
def nobody_reads(folder: Path) -> Iterator[bool]:
    """Whether nobody reads the index; nobody begins to, meanwhile."""
    with folder.with_suffix(".readers").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def read(folder: Path) -> dict[str, Record]:
    """The documents as they were last read, by name; {} where there are none, or none that can be used."""
    try:
        rows = json.loads((folder / "documents.json").read_text(encoding="utf-8"))
        records = [Record(File(**row.pop("file")), **row) for row in rows]
    except (FileNotFoundError, ValueError, TypeError, AttributeError, KeyError, RecursionError):  # nothing is lost: files are read again
        return {}
    return {record.file.document: record for record in records}


def write(folder: Path, records: Sequence[Record]) -> None:
    """Keep the documents; the file appears whole."""
    replace(folder / "documents.json", json.dumps([asdict(record) for record in records], ensure_ascii=False))


def replace(path: Path, text: str) -> None:
    """Write a file by atomic rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
