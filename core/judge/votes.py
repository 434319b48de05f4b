"""Votes of people: votes.csv of a run takes them, one row each. Rows are only ever added; the last of a reviewer on a pair counts.

Any number of people, pages and processes may vote at once: a row is appended by one write under a lock on the file. Light.
"""

import csv
import errno
import fcntl
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import paths, read_only, results, runs
from core.errors import UserError, explained
from core.results import Vote

if TYPE_CHECKING:
    import pandas as pd

VOTES = "votes.csv"
CHOICES = ("left", "right", "tie", "skip")
UNDO = "undo"
"""The choice of a row that takes the reviewer's last vote on the pair back."""


def votes() -> "pd.DataFrame":
    """The votes of all runs that stand: of a reviewer's votes on a pair the last, skips left out. Columns of results.Vote, and `blind`:

    whether names were hidden (a round of the arena) or not (given beside a judge's verdict). A damaged file is left out.
    """
    import pandas as pd

    every = []
    for file in sorted(paths.results().glob(f"*/{VOTES}")):
        with suppress(UserError):  # damaged, which the page of its round tells
            every.append(counted(read(file)))
    rows = pd.concat(every, ignore_index=True) if every else pd.DataFrame(columns=Vote.columns())
    given = rows[rows["verdict"] != ""].sort_values("at", kind="stable").drop_duplicates(["reviewer", "pair"], keep="last")
    rounds = {run.run_id for run in runs.listing("arena")}
    return given.assign(blind=given["round"].isin(rounds)).reset_index(drop=True)


def vote_openly(verdict: Mapping[str, Any], reviewer: str, word: str, reason: str = "") -> Vote:
    """Append what somebody says who saw the names and the judge's word: beside the judge run's own tables.

    `verdict`: a row of verdicts.csv; `word`: base, fine-tuned or tie.
    """
    read_only.refuse("A vote beside a verdict")
    choice = {"base": "left", "fine-tuned": "right", "tie": "tie"}[word]
    row = made(str(verdict["run"]), reviewer, verdict, "base", choice, reason=reason)
    with appending(row.round) as file:
        append(file, row)
    return row


def made(run_id: str, reviewer: str, about: Mapping[str, Any], left: str, choice: str, seconds: float = 0.0, reason: str = "") -> Vote:
    """A vote, not yet written. `about`: has pair, base, candidate, category and question. Raises UserError for a nameless reviewer."""
    if not named(reviewer):
        raise UserError("A vote needs the name of who gives it, and there is none. Say who you are.")
    if choice not in (*CHOICES, UNDO):
        raise UserError(f"A vote can't be '{choice}'. Choose one of: {', '.join(CHOICES)}.")
    right = "base" if left == "candidate" else "candidate"
    whose = {"left": left, "right": right, "tie": "tie"}.get(choice, "")
    return Vote(
        at=runs.now(),
        round=run_id,
        reviewer=named(reviewer),
        **{column: str(about[column]) for column in ("pair", "base", "candidate", "category", "question")},
        left=left,
        choice=choice,
        verdict="fine-tuned" if whose == "candidate" else whose,
        seconds=round(seconds, 1),
        reason=_line(reason),
    )


def named(reviewer: str) -> str:
    """A reviewer's name in one line of at most 60 characters; empty when nothing is left of it."""
    return _line(reviewer)[:60].strip()


def counted(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Of the rows of one votes.csv those that count: a reviewer's last on a pair, unless it takes the vote back."""
    last = rows.drop_duplicates(["reviewer", "pair"], keep="last")
    return last[last["choice"] != UNDO]


def read(file: Path) -> "pd.DataFrame":
    """All rows of a votes.csv, in the order in which they were given."""
    if not file.exists():
        return read_locked(file)
    with file.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        return read_locked(file)


def read_locked(file: Path) -> "pd.DataFrame":
    """The same within `appending`."""
    import pandas as pd

    return results.read(file, Vote) if file.exists() and file.stat().st_size else pd.DataFrame(columns=Vote.columns())


@contextmanager
def appending(run_id: str) -> Iterator[int]:
    """The descriptor of a run's votes.csv; nobody else adds to it within."""
    try:
        descriptor = os.open(runs.folder(run_id) / VOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise explained(error) from None
    try:
        read_only.voting(os.fstat(descriptor).st_size)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def append(descriptor: int, row: Vote) -> None:
    """Add a row, in a new file after the head. On a full disk the file stays as it was. Raises UserError then."""
    size, text = os.fstat(descriptor).st_size, io.StringIO(newline="")
    writer = csv.DictWriter(text, Vote.columns())
    if not size:
        writer.writeheader()
    writer.writerow(asdict(row))
    content = text.getvalue().encode()
    try:
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), VOTES)
        os.fsync(descriptor)
    except OSError as error:
        os.ftruncate(descriptor, size)
        raise explained(error) from None


def _line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
