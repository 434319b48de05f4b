"""The memory of replies, shared by all runs and processes: results/.judge_replies.sqlite. What was answered once is never asked again.

A reply is known by the digest of its exact identity: judge, parameters, both messages, and which repeat it is. It is on disk the moment
it came, with the run that paid for it. Every request is noted beside it, for the limits that a provider sets on a day.
"""

import hashlib
import json
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import paths
from core.judge.backend import Reply, Tokens
from core.models.chat import whole

DAY = 86400.0
_TABLES = """
create table if not exists replies (
    key text primary key, run text not null, text text not null, finish text not null,
    prompt_tokens integer, reply_tokens integer, seconds real not null, assumed_prompt integer, assumed_reply integer
) without rowid;
create table if not exists requests (provider text not null, at real not null, tokens integer not null);
create index if not exists requests_at on requests (provider, at);
"""
_ASSUMED = ("assumed_prompt", "assumed_reply")
"""Columns that files of earlier versions lack."""


@dataclass(frozen=True)
class Asked:
    """A reply, and how long it took with all its tries and waits."""

    reply: Reply
    seconds: float
    run: str
    """The run that asked."""
    assumed: Tokens | None = None
    """What the budget was charged where the server said no tokens: the most that the call could take."""


class Replies:
    """The memory. Safe for threads and processes; a process that is killed loses nothing that it kept."""

    def __init__(self, file: Path | None = None) -> None:
        """Open it, or make it."""
        file = file or paths.results() / ".judge_replies.sqlite"
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._base = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
        self._base.execute("pragma journal_mode = wal")
        self._base.execute("pragma synchronous = normal")
        self._base.executescript(_TABLES)
        self._add_columns()

    def get(self, key: str) -> Asked | None:
        """The reply to exactly this, if it came before."""
        sql = "select text, finish, prompt_tokens, reply_tokens, seconds, run from replies where key = ?"
        found = self._execute(sql, key)
        return Asked(Reply(*found[0][:4]), *found[0][4:]) if found else None

    def keep(self, key: str, asked: Asked) -> None:
        """Remember a reply; of two to the same, the first stays."""
        reply = asked.reply
        assumed = (None, None) if asked.assumed is None else (asked.assumed.prompt, asked.assumed.reply)
        said = (whole(reply.text), whole(reply.finish), reply.prompt_tokens, reply.reply_tokens)
        self._execute("insert or ignore into replies values (?, ?, ?, ?, ?, ?, ?, ?, ?)", key, asked.run, *said, asked.seconds, *assumed)

    def spent(self, run: str) -> Tokens:
        """What the replies took that a run asked for; where nobody counted, what was assumed."""
        prompt, reply = "coalesce(assumed_prompt, prompt_tokens)", "coalesce(assumed_reply, reply_tokens)"
        sql = f"select coalesce(sum({prompt}), 0), coalesce(sum({reply}), 0) from replies where run = ?"
        return Tokens(*self._execute(sql, run)[0])

    def note(self, provider: str, tokens: int) -> None:
        """Note a request to a provider, and the tokens that it took."""
        self._execute("insert into requests values (?, ?, ?)", provider, time.time(), tokens)

    def last_day(self, provider: str) -> tuple[int, int]:
        """Requests to a provider and their tokens, in the last 24 hours."""
        sql = "select count(*), coalesce(sum(tokens), 0) from requests where provider = ? and at > ?"
        requests, tokens = self._execute(sql, provider, time.time() - DAY)[0]
        return requests, tokens

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def _add_columns(self) -> None:
        """Bring a file of an earlier version up to date, once, whoever opens it first."""
        self._base.execute("begin immediate")
        there = {row[1] for row in self._base.execute("pragma table_info(replies)")}
        for column in _ASSUMED:
            if column not in there:
                self._base.execute(f"alter table replies add column {column} integer")
        self._base.execute("commit")

    def _execute(self, sql: str, *values: Any) -> list[Any]:
        with self._lock, closing(self._base.execute(sql, values)) as cursor:
            return cursor.fetchall()


def key(identity: list[Any], repeat: int) -> str:
    """The digest of an identity and of which repeat of it is meant."""
    return hashlib.sha256(json.dumps([identity, repeat], sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
