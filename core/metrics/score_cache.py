"""BERTScores and encodings that were made before, found by the content they were made from; in one file under `paths.cache()`.

A key is the digest of the encoder's signature (weights, layer, library versions, device) and of the texts, so what is found is what would
be made. Several processes may use the file at once.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import paths
from core.errors import UserError

MOST_BYTES = 256 * 2**20
"""Of encodings; the oldest go first. A pair's scores take some 70 bytes and stay."""
_TABLES = """
CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, precision REAL, recall REAL, f1 REAL, cut INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS encodings (number INTEGER PRIMARY KEY, key BLOB UNIQUE, vectors BLOB);
"""
_TRIM = """
DELETE FROM encodings WHERE number IN (
    SELECT number FROM (SELECT number, sum(length(vectors)) OVER (ORDER BY number DESC) AS bytes FROM encodings) WHERE bytes > ?
)
"""
_AT_ONCE = 500
"""Keys in one question to the file."""


@dataclass(frozen=True)
class Scored:
    """What was found of a pair."""

    scores: tuple[float, float, float]
    """Precision, recall, F1."""
    cut: int
    """1: the prediction was longer than the encoder reads; 2: the reference was; 3: both."""


class ScoreCache:
    """Pairs and encodings made with one encoder: `ScoreCache(signature)`."""

    def __init__(self, signature: str) -> None:
        self._signature = signature.encode()
        self.file: Path = paths.cache() / "bertscore.sqlite"
        self.file.parent.mkdir(parents=True, exist_ok=True)

    def pairs(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Scored]:
        """Of these (prediction, reference) pairs those that are known."""
        keys = {self._key(*pair): pair for pair in wanted}
        found = self._ask("SELECT key, precision, recall, f1, cut FROM pairs WHERE key IN", list(keys))
        return {keys[key]: Scored((precision, recall, f1), cut) for key, precision, recall, f1, cut in found}

    def keep_pairs(self, scored: Mapping[tuple[str, str], Scored]) -> None:
        """Add pairs."""
        rows = [(self._key(*pair), *each.scores, each.cut) for pair, each in scored.items()]
        with closing(self._connect()) as file, file:
            file.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?, ?, ?, ?)", rows)

    def encodings(self, texts: Iterable[str]) -> dict[str, np.ndarray]:
        """Of these texts those whose vectors are known: [tokens, width] fp32, as one row of numbers."""
        keys = {self._key(text): text for text in texts}
        found = self._ask("SELECT key, vectors FROM encodings WHERE key IN", list(keys))
        return {keys[key]: np.frombuffer(vectors, dtype=np.float32) for key, vectors in found}

    def keep_encodings(self, made: Mapping[str, np.ndarray]) -> None:
        """Add vectors, and let the oldest go where they are too many."""
        rows = [(self._key(text), vectors.astype(np.float32).tobytes()) for text, vectors in made.items()]
        with closing(self._connect()) as file, file:
            file.executemany("INSERT OR IGNORE INTO encodings (key, vectors) VALUES (?, ?)", rows)
            file.execute(_TRIM, (MOST_BYTES,))

    def _key(self, *texts: str) -> bytes:
        parts = (self._signature, *(text.encode() for text in texts))
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()

    def _ask(self, question: str, keys: Sequence[bytes]) -> list[tuple]:  # type: ignore[type-arg]
        found = []
        with closing(self._connect()) as file:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                found += file.execute(f"{question} ({','.join('?' * len(part))})", part).fetchall()
        return found

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=60)
        try:
            connection.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.file} can't be read ({error}). It holds scores that can be made again: delete it.") from error
        return connection
