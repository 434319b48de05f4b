"""The memory of a judging run: each reply is on disk the moment it came, so that a resumed run asks nothing twice."""

import hashlib
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.judge.backend import Backend, Comparison, Reply


@dataclass(frozen=True)
class Asked:
    """A reply, and how long it took with all its tries and waits."""

    reply: Reply
    seconds: float


class Replies:
    """replies.jsonl, keyed by the exact identity of what was asked."""

    def __init__(self, file: Path) -> None:
        """Take up what is there; a line that a killed process left unfinished is dropped."""
        self._file, self._lock = file, threading.Lock()
        self._known: dict[str, Asked] = {}
        if file.exists():
            whole = file.read_bytes().rpartition(b"\n")
            file.write_bytes(whole[0] + whole[1])
            for line in whole[0].splitlines():
                entry = json.loads(line)
                self._known[entry["key"]] = Asked(Reply(**entry["reply"]), entry["seconds"])

    def __len__(self) -> int:
        return len(self._known)

    def get(self, judge: Backend, comparison: Comparison) -> Asked | None:
        """The reply to exactly this, if it came before."""
        return self._known.get(_key(judge.identity(comparison)))

    def keep(self, judge: Backend, comparison: Comparison, asked: Asked) -> None:
        """Remember a reply and append it to the file."""
        key = _key(judge.identity(comparison))
        line = json.dumps({"key": key, "reply": asdict(asked.reply), "seconds": asked.seconds}, ensure_ascii=False)
        with self._lock:
            self._known[key] = asked
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def _key(identity: list[Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
