"""From here to the store: a thing's new files, then its marker, then what is left of older versions goes.

A writer that is killed before the marker leaves the old thing whole. What it left behind is removed by the next publish of that name
from the same working copy, or from any other one a day later (until then it may be somebody's who still writes).
"""

import hashlib
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from core.errors import UserError
from core.jobs import locks
from core.store import away, ledger
from core.store.ledger import Known, Prints
from core.store.marker import SHELVES, UPLOADS, File, Marker, Thing, inside, parse
from core.store.remote import Remote, connect

DEAD_SECONDS = 24 * 3600.0
"""After this long what another working copy left half-done is taken for a dead writer's."""
LINKED_BYTES = 64 * 2**20
"""A file from this size on is not copied before it is sent."""
Say = Callable[[str], None]


def publish(
    thing: Thing,
    names: list[str],
    *,
    run_id: str,
    status: str = "",
    replace: bool,
    wait: float,
    say: Say | None = None,
    renew: float = math.inf,
) -> bool:
    """Bring these files of a thing up, unless the store has them as they are. Returns whether there was anything to do.

    `renew`: seconds after which the marker is written anew though nothing changed, as a sign of life.

    Raises UserError where the name is another run's and `replace` is not said; Away when patience (`wait`, seconds) is over.
    """
    names = sorted(name for name in names if inside(name))
    with alone(thing):
        known = ledger.get(thing)
        prints = ledger.prints(thing, names)
        if known and known.prints == prints and known.marker.says(run_id, status) and known.marker.age() < renew:
            return False
        with _snapshot(thing, names) as copy:
            before = away.ask(lambda: read(thing), wait, say)
            _refuse_taken(thing, before, known, run_id, replace)
            marker = _marker(copy, prints, known if known and before == known.marker else None, run_id, status)
            fresh = {f"{thing.key}/{marker.version}/{name}": copy / name for name in names if marker.files[name].version == marker.version}
            away.ask(lambda: _send(connect(), thing, marker, fresh, new=before is None and not replace), wait, say)
        ledger.put(thing, Known(marker, "", prints))
        away.ask(lambda: _sweep(connect(), thing, marker, before), wait, say)
    return True


def remove(thing: Thing, wait: float = 0.0, say: Say | None = None) -> None:
    """Take a thing out of the store: its marker first, then its files. What isn't there is no error."""
    with alone(thing):
        away.ask(lambda: connect().delete([thing.marker]), wait, say)
        ledger.forget(thing)
        away.ask(lambda: connect().delete(connect().sizes(thing.key)), wait, say)


def read(thing: Thing) -> Marker | None:
    """The thing's marker in the store; None where there is none."""
    try:
        return parse(connect().read(thing.marker), thing)
    except FileNotFoundError as error:
        if away.is_missing(error):
            return None
        raise


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_taken(thing: Thing, before: Marker | None, known: Known | None, run_id: str, replace: bool) -> None:
    """A name that somebody else took since this working copy last looked is refused as a taken name here is."""
    if before is None or replace or (run_id and before.run_id == run_id) or (known and before.version == known.marker.version):
        return
    if thing.kind in SHELVES:
        raise taken(thing, before)


def taken(thing: Thing, marker: Marker) -> UserError:
    """The sentence for a name that is another run's."""
    return UserError(
        f"'{thing.name}' exists already in the store's {thing.kind}, published by run {marker.run_id or 'of no name'} on {marker.host}. "
        "Choose another name, or say replace=true."
    )


def _marker(copy: Path, prints: Prints, known: Known | None, run_id: str, status: str) -> Marker:
    """Of files as they were copied. What the store has with the same size and time of change stays where it lies."""
    now, place = datetime.now(UTC), ledger.place()
    version = f"{now:%Y%m%d-%H%M%S-%f}-{place}"
    files = {}
    for name, (size, changed) in prints.items():
        if known and known.prints.get(name) == (size, changed):
            files[name] = known.marker.files[name]
        else:
            files[name] = File((copy / name).stat().st_size, sha256(copy / name), changed, version)
    return Marker(version, place, now.isoformat(timespec="milliseconds"), run_id, status, files)


def _send(remote: Remote, thing: Thing, marker: Marker, fresh: dict[str, Path], new: bool) -> None:
    if missing := _missing(remote, thing, marker, fresh):
        remote.upload(missing)
        if cut := _missing(remote, thing, marker, fresh):
            raise ConnectionError(f"{next(iter(cut))} arrived cut")
    try:
        remote.write(thing.marker, marker.text().encode(), new)
    except FileExistsError:
        other = read(thing)
        if other and other.version != marker.version:  # else: this very marker, whose answer was lost on the way
            raise taken(thing, other) from None


def _missing(remote: Remote, thing: Thing, marker: Marker, fresh: dict[str, Path]) -> dict[str, Path]:
    """What an earlier try has not brought up, whole."""
    there = remote.sizes(f"{thing.key}/{marker.version}") if fresh else {}
    return {key: path for key, path in fresh.items() if there.get(key, (-1, 0.0))[0] != path.stat().st_size}


def _sweep(remote: Remote, thing: Thing, marker: Marker, before: Marker | None) -> None:
    """Remove the version that was replaced, and what dead writers left."""
    there = remote.sizes(thing.key)
    used = {marker.version, *(file.version for file in marker.files.values())}
    newest = max((time for _, time in there.values()), default=0.0)
    orphans: dict[str, list[str]] = {}
    for key in there:
        orphans.setdefault(key.removeprefix(f"{thing.key}/").partition("/")[0], []).append(key)
    for version, keys in orphans.items():
        mine = version.endswith(f"-{marker.place}") or (before is not None and version in {f.version for f in before.files.values()})
        if version not in used and (mine or newest - max(there[key][1] for key in keys) > DEAD_SECONDS):
            remote.delete(keys)


@contextmanager
def alone(thing: Thing) -> Iterator[None]:
    """Within, no other process of this working copy publishes or fetches this thing."""
    descriptor = locks.take(f"store-{thing.key.replace('/', '-')}")
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _snapshot(thing: Thing, names: list[str]) -> Iterator[Path]:
    """The files as they are now, in a folder of their own: a log grows while it is sent."""
    copy = ledger.folder() / "outgoing" / secrets.token_hex(4)
    try:
        for name in names:
            place, source = copy / name, ledger.path_of(thing, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            if thing.kind not in SHELVES and source.stat().st_size < LINKED_BYTES or not _linked(source, place):
                shutil.copy2(source, place)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _linked(source: Path, place: Path) -> bool:
    """Whether a file could be linked; one on another disk can't."""
    try:
        os.link(source, place)
    except OSError:
        return False
    return True


def names_of(thing: Thing) -> list[str]:
    """The files of a thing as it lies here; of an upload, its own name. Of a run, without what is half-made."""
    if thing.kind == UPLOADS:
        return [thing.name]
    found = [path.relative_to(thing.local) for path in thing.local.rglob("*") if path.is_file()]
    return [str(path) for path in found if inside(str(path)) and not (thing.kind == "results" and path.parts[0] == "work")]
