"""Documents: the files of a folder, or the lines of a BEIR corpus, as text; whatever can't be read is refused by name.

A file that didn't change since it was last read isn't read again: its size and time say so, or else its sha256.
Thakur et al. 2021, BEIR, arXiv:2104.08663, is where corpus.jsonl comes from.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core import paths
from core.config.rag import IndexConfig
from core.errors import UserError
from core.rag.readers import READERS, Refused, cleaned, read_text
from core.wording import count, listed, three

Say = Callable[[str], None]
Progress = Callable[[float, float, str], None]

MB = 1_000_000
_SETTLED = 2_000_000_000
"""Nanoseconds between a file's last change and its reading below which its time proves nothing: it may have changed twice."""
_LOOK = "md, txt, html, pdf and docx files are"


@dataclass(frozen=True)
class File:
    """A document, or what was refused."""

    document: str
    """Path relative to the folder; of a corpus.jsonl the document's id."""
    bytes: int = 0
    text: str = ""
    reason: str = ""
    """Why it is refused, in a sentence; empty: it isn't."""
    note: str = ""
    """How it was read, where that isn't plain."""
    sha256: str = ""
    changed: int = 0
    """When the file was last changed, in nanoseconds."""
    read: int = 0
    """When it was read."""


def read_folder(config: IndexConfig, say: Say, known: Mapping[str, File] | None = None, progress: Progress | None = None) -> list[File]:
    """Every file below docs_dir, by name, with its text or why it is refused; `known` are those of the last reading.

    Raises UserError when docs_dir isn't there or holds no document at all.
    """
    root = paths.data_file(config.docs_dir)
    if not root.exists():
        raise UserError(f"The documents '{config.docs_dir}' aren't there. Set docs_dir to a folder ({_LOOK} read), or to a corpus.jsonl.")
    if root.suffix.lower() == ".jsonl" and root.is_file():
        files = list(_corpus(root))
    else:
        files = _files(root.resolve(), config.max_file_mb, known or {}, progress)
    _tell(config.docs_dir, files, say)
    return files


def _tell(docs_dir: str, files: list[File], say: Say) -> None:
    """Say what was refused and how the rest was read; an error when nothing is left."""
    refused = [file for file in files if file.reason]
    examples = listed([f"{file.document} ({file.reason.rstrip('.')})" for file in refused], most=3)
    if len(refused) == len(files):
        why = f"every file in it is refused: {examples}" if files else "it is empty"
        raise UserError(f"No document of '{docs_dir}' can be indexed, because {why}. Put documents there: {_LOOK} read.")
    if refused:
        say(f"{len(refused):,} of {count(len(files), 'file')} refused: {examples}.")
    notes: dict[str, list[str]] = {}
    for file in files:
        if file.note:
            notes.setdefault(file.note, []).append(file.document)
    for note, names in notes.items():
        say(f"{listed(names, most=3)}: {note}")


def _files(root: Path, max_mb: float, known: Mapping[str, File], progress: Progress | None) -> list[File]:
    found = sorted(_found(root), key=lambda each: each[1].document)
    files = []
    for place, (path, file) in enumerate(found):
        if progress is not None and place % 100 == 0:
            progress(place, len(found), f"Reading files: {place:,} of {len(found):,}")
        files.append(file if file.reason else _read(path, file, max_mb, known.get(file.document)))
    return files


def _found(root: Path) -> Iterator[tuple[Path, File]]:
    """All files below the folder, not yet read; links, hidden and special files are refused at once. A file is its own folder."""
    if root.is_file():
        yield root, File(_shown(root.name))
        return
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            yield folder, File(_shown(f"{folder.relative_to(root)}/"), reason=f"The folder can't be opened: {error.strerror}.")
            continue
        for entry in entries:
            path = Path(entry.path)
            reason = _refusal(entry, root)
            if not reason and entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield path, File(_shown(str(path.relative_to(root))), reason=reason)


def _refusal(entry: os.DirEntry[str], root: Path) -> str:
    """Why an entry isn't even opened; empty: it is."""
    if entry.name.startswith("."):
        return "Its name begins with a dot: hidden."
    if entry.is_symlink():
        return _link(Path(entry.path), root)
    if entry.is_dir() or entry.is_file():
        return ""
    return "It is no file, but a device, a pipe or a socket."


def _link(link: Path, root: Path) -> str:
    """Why a link isn't followed: whatever of the folder it leads to is read where it stands."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # a loop of links is one or the other, by the version of Python
        return "It is a link that leads nowhere or to itself."
    if not target.is_relative_to(root):
        return "It is a link that leaves the folder."
    if link.parent.is_relative_to(target):
        return "It is a link back to a folder that it lies in: a loop."
    return f"It is a link to '{_shown(str(target.relative_to(root)))}', which is read where it stands."


def _shown(name: str) -> str:
    """A name as tables hold it: bytes that are no UTF-8, and control characters, are written out."""
    whole = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if ord(c) >= 32 and ord(c) != 127 else f"\\x{ord(c):02x}" for c in whole)


def _read(path: Path, file: File, max_mb: float, before: File | None) -> File:
    """The file with its text, as it was last read where it is the same."""
    reader = READERS.get(path.suffix.lower())
    try:
        seen = path.stat()
        file = replace(file, bytes=seen.st_size)
        if reader is None:
            return replace(file, reason=_strange(path))
        if not seen.st_size:
            return replace(file, reason="It is empty.")
        if seen.st_size > max_mb * MB:
            return replace(file, reason=f"It has {three(seen.st_size / MB)} MB, more than max_file_mb={max_mb:g}.")
        if before and (before.bytes, before.changed) == (seen.st_size, seen.st_mtime_ns) and before.changed + _SETTLED < before.read:
            return before
        file = replace(file, changed=seen.st_mtime_ns, read=time.time_ns())
        data = _data(path)
    except OSError as error:
        return replace(file, reason=f"It can't be opened: {error.strerror}.")
    file = replace(file, sha256=hashlib.sha256(data).hexdigest())
    if before and before.sha256 == file.sha256:
        return replace(before, changed=file.changed, read=file.read)
    try:
        text, note = read_text(reader, data)
    except Refused as refused:
        return replace(file, reason=str(refused))
    return replace(file, text=text, note=note)


def _data(path: Path) -> bytes:
    """The file's bytes; what became a link or a pipe meanwhile is neither followed nor waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no longer a file")
        return file.read()


def _strange(path: Path) -> str:
    if path.suffix.lower() == ".jsonl":
        return "A .jsonl file is read only where docs_dir names it: a corpus of documents, one a line."
    what = f"{_shown(path.suffix)} files aren't" if path.suffix else "A file without a suffix isn't"
    return f"{what} read here; {_LOOK}."


def _corpus(path: Path) -> Iterator[File]:
    """A document a line: _id, title, text. What is wrong with a line is said of the line."""
    ids: set[str] = set()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            file = _line(line)
            if file.document and file.document in ids:
                file = replace(file, document="", reason=f"Its _id '{file.document}' stands on an earlier line.")
            ids.add(file.document)
            yield file if file.document else replace(file, document=f"line {number}")


def _line(line: bytes) -> File:
    """One line of a corpus; without a name where its _id can't be used."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        return File("", len(line), reason=f"The line is no JSON: {str(error).splitlines()[0]}.")
    if not isinstance(row, dict) or not isinstance(row.get("_id"), str | int) or not str(row["_id"]).strip():
        return File("", len(line), reason="The line has no _id.")
    name = _shown(cleaned(str(row["_id"])))
    parts = [row.get(key) or "" for key in ("title", "text")]
    if not all(isinstance(part, str) for part in parts):
        return File(name, len(line), reason="Its title or text is no text.")
    text = cleaned("\n\n".join(part.strip() for part in parts if part.strip()))
    digest = hashlib.sha256(line).hexdigest()
    return File(name, len(line), text, reason="" if text.strip() else "It is empty.", sha256=digest)
