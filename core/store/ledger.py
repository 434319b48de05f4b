"""What this working copy has of the store: a small SQLite file in it, `.store/ledger.sqlite`."""

import json
import os
import platform
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from core import paths
from core.errors import UserError
from core.store import remote
from core.store.marker import Marker, Thing, parse

Prints = dict[str, tuple[int, int]]
"""Size in bytes and time of change in nanoseconds of each file of a thing, by its path within it."""


@dataclass(frozen=True)
class Known:
    """A thing whose files here are those of the store."""

    marker: Marker
    token: str
    """Of the marker as it was listed; empty for one that was written here and not listed since."""
    prints: Prints
    """Of the files here."""


def folder() -> Path:
    """What belongs to this working copy and to nobody else."""
    made = paths.home() / ".store"
    made.mkdir(parents=True, exist_ok=True)
    return made


def place() -> str:
    """This working copy's name: the machine's, and four characters."""
    file = folder() / "place"
    if not file.exists():
        temporary = folder() / f".place.{secrets.token_hex(4)}"
        temporary.write_text(f"{paths.slug(platform.node())[:40] or 'machine'}-{secrets.token_hex(2)}", encoding="utf-8")
        with suppress(FileExistsError):  # another process was quicker
            os.link(temporary, file)
        temporary.unlink()
    return file.read_text(encoding="utf-8")


def check() -> None:
    """Raises UserError where this folder can't be a working copy of the store.

    It lies in the store itself; or it is that of another store, whose things would be taken for this one's.
    """
    if (inside := remote.connect().folder()) and paths.home().is_relative_to(inside):
        raise UserError(f"LYCEUM_WORK, {paths.home()}, lies in the store that LYCEUM_HOME names, {inside}. Give it a folder elsewhere.")
    file, mine = folder() / "store", paths.address_digest(paths.store() or "")
    if not file.exists():
        file.write_text(mine, encoding="utf-8")
    if file.read_text(encoding="utf-8") != mine:
        raise UserError(f"{paths.home()} is the working copy of another store than LYCEUM_HOME names. Give LYCEUM_WORK another folder.")


def everything() -> dict[Thing, str]:
    """Every thing that is known, and the token of its marker."""
    with _opened() as database:
        return {Thing(kind, name): token for kind, name, token in database.execute("select kind, name, token from known")}


def told() -> dict[str, tuple[str, int]]:
    """Of each run that is known, by its id: who told of it, and the time of change of its run.json here (0: it isn't here)."""
    changed = """coalesce(json_extract(prints, '$."run.json"[1]'), 0)"""
    with _opened() as database:
        rows = database.execute(f"select name, json_extract(marker, '$.place'), {changed} from known where kind = 'results'")
        return {name: (place, changed) for name, place, changed in rows}


def get(thing: Thing) -> Known | None:
    """What is known of a thing."""
    with _opened() as database:
        row = database.execute("select marker, token, prints from known where kind = ? and name = ?", (thing.kind, thing.name)).fetchone()
    if row is None:
        return None
    prints = {name: (size, changed) for name, (size, changed) in json.loads(row[2]).items()}
    return Known(parse(row[0].encode(), thing), row[1], prints)


def put(thing: Thing, known: Known) -> None:
    """Note what is known of a thing."""
    marker = json.dumps(asdict(known.marker), ensure_ascii=False)
    with _opened() as database:
        values = (thing.kind, thing.name, known.token, marker, json.dumps(known.prints))
        database.execute("insert or replace into known values (?, ?, ?, ?, ?)", values)


def forget(thing: Thing) -> None:
    """Know nothing of a thing any more."""
    with _opened() as database:
        database.execute("delete from known where kind = ? and name = ?", (thing.kind, thing.name))


def prints(thing: Thing, names: list[str]) -> Prints:
    """Of these files of a thing as they are here; of an upload, the file itself."""
    states = {name: path_of(thing, name).stat() for name in names}
    return {name: (state.st_size, state.st_mtime_ns) for name, state in states.items()}


def path_of(thing: Thing, name: str) -> Path:
    """Where a file of a thing lies here."""
    return thing.local if thing.local.is_file() else thing.local / name


@contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder() / "ledger.sqlite", timeout=60)) as database, database:
        database.execute(
            "create table if not exists known (kind text, name text, token text, marker text, prints text, primary key (kind, name))"
        )
        yield database
