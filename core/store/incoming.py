"""From the store to here: one listing of the markers, then what has changed since the last one.

Files go to a folder of their own, are held against the marker's sha256, and then appear by rename. What was published here and is not in
the store yet is left alone; so is a run that is under way here. What was removed from the store goes here too.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from core import runs
from core.errors import UserError
from core.jobs import endings, locks
from core.store import away, ledger, publish
from core.store.ledger import Known
from core.store.marker import SHELVES, UPLOADS, Marker, Thing
from core.store.remote import connect

LAZY_BYTES = 16 * 2**20
"""Of a whole model, files from this size on come at their first use (`need`)."""
AT_ONCE = 8
"""Things that are read at the same time."""
TRIES = 3
"""How often a thing is read anew that somebody replaces meanwhile."""


def fetch(wait: float = 0.0, say: publish.Say | None = None) -> list[str]:
    """Bring this working copy up to date. Returns what could not be had, in sentences. Raises Away, and UserError for a store of no use."""
    ledger.check()
    descriptor = locks.take("store")
    try:
        there, known = _listed(wait, say)
        (ledger.folder() / "reached").touch()
        for thing in known:
            if thing not in there:
                _forget(thing)
        changed = [thing for thing, token in there.items() if known.get(thing) != token or not thing.local.exists()]
        problems: list[str] = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for of_runs in (False, True):  # what runs have made comes before the runs that tell of it
                these = [thing for thing in changed if (thing.kind == "results") == of_runs]
                problems += pool.map(lambda thing: _bring(thing, there[thing], wait), these)
    finally:
        os.close(descriptor)
    return [problem for problem in problems if problem]


def need(folder: Path, wait: float) -> None:
    """Have every file of a whole model here, also those that wait for their first use. Raises UserError where they can't be had."""
    thing = Thing("models", folder.name)
    with publish.alone(thing):
        known = ledger.get(thing)
        missing = [name for name in known.marker.files if not (thing.local / name).exists()] if known else []
        if known and missing:
            with _landing() as place:
                try:
                    away.ask(lambda: _download(thing, known.marker, missing, place), wait)
                except (FileNotFoundError, _Damaged) as error:
                    raise UserError(
                        f"{thing.key} was replaced in the store meanwhile, or is damaged there ({error}). "
                        "Start again, and the newest one is used; or publish it again."
                    ) from None
                _move(missing, place, thing.local)
            ledger.put(thing, Known(known.marker, known.token, ledger.prints(thing, list(known.marker.files))))


def _listed(wait: float, say: publish.Say | None) -> tuple[dict[Thing, str], dict[Thing, str]]:
    """Every marker in the store, and all that was known of it before.

    Raises UserError where the store has lost all that it had; a server that has just come back is asked again first.
    """
    until = time.monotonic() + min(wait, away.SETTLING_SECONDS)
    while True:
        there, known = away.ask(lambda: connect().markers(), wait, say), ledger.everything()
        if there or not known:
            return there, known
        if time.monotonic() > until:
            raise UserError(
                f"The store {away.told()} is empty, though {len(known)} things were published in it. Nothing was removed here. "
                "Mend LYCEUM_HOME; or, if it was emptied on purpose, remove this machine's copy of it too."
            )
        time.sleep(away.FIRST_WAIT)


def _bring(thing: Thing, token: str, wait: float) -> str:
    """Have a thing here as the store has it. Returns why it can't be had."""
    with publish.alone(thing):
        try:
            for attempt in range(TRIES):
                marker = away.ask(lambda: publish.read(thing), wait)
                if marker is None:  # removed since it was listed
                    return ""
                known = ledger.get(thing)
                if _is_here(thing, marker, known):
                    ledger.put(thing, Known(marker, token, known.prints if known else {}))
                    return ""
                if thing.local.exists() and (known is None or _is_ahead(thing, marker, known)):
                    return _apart(thing, marker) if known is None and thing.kind in SHELVES else ""
                if _taken_over(thing, marker, known, token, wait, last=attempt == TRIES - 1):
                    return ""
        except away.Away:
            raise
        except UserError as error:
            return str(error)
    return f"{thing.key} changes faster than it can be read. It comes with a later look."


def _is_here(thing: Thing, marker: Marker, known: Known | None) -> bool:
    return known is not None and known.marker.version == marker.version and thing.local.exists()


def _is_ahead(thing: Thing, marker: Marker, known: Known) -> bool:
    """Whether what lies here is on its way up. A run is, that this working copy told of last, or that goes on here."""
    if thing.kind == "results":
        return marker.place == ledger.place() or endings.alive(runs.read(thing.name))
    return _has_changed(thing, known)


def _has_changed(thing: Thing, known: Known) -> bool:
    """Whether what lies here has changed since it was last the store's: it is on its way up."""
    return ledger.prints(thing, _names(thing, known)) != known.prints


def _apart(thing: Thing, marker: Marker) -> str:
    return (
        f"{thing.key} here is not the one in the store, published by run {marker.run_id or 'of no name'} on {marker.host}. "
        f"To have that one, move {thing.local} away."
    )


def _names(thing: Thing, known: Known) -> list[str]:
    return [name for name in known.prints if ledger.path_of(thing, name).exists()]


def _taken_over(thing: Thing, marker: Marker, known: Known | None, token: str, wait: float, last: bool) -> bool:
    """Download what has changed, and let it appear. False when the store's files are not those of the marker: somebody replaces them."""
    at_once = [name for name, file in marker.files.items() if not (thing.kind == "models" and file.size >= LAZY_BYTES)]
    old = known.marker.files if known else {}
    fresh = [name for name in at_once if old.get(name) != marker.files[name] or not ledger.path_of(thing, name).exists()]
    with _landing() as place:
        try:
            away.ask(lambda: _download(thing, marker, fresh, place), wait)
        except (FileNotFoundError, _Damaged) as error:
            if last and publish.read(thing) == marker:
                raise UserError(f"{thing.key} is damaged in the store ({error}). Publish it again.") from None
            return False
        _appear(thing, marker, place, at_once, fresh)
    ledger.put(thing, Known(marker, token, ledger.prints(thing, at_once)))
    return True


class _Damaged(Exception):
    """A file is not what the marker says."""


def _download(thing: Thing, marker: Marker, names: list[str], place: Path) -> None:
    connect().download({f"{thing.key}/{marker.files[name].version}/{name}": place / name for name in names})
    for name in names:
        file, path = marker.files[name], place / name
        if path.stat().st_size != file.size or publish.sha256(path) != file.sha256:
            raise _Damaged(f"{name} has not the sha256 that its marker names")
        os.utime(path, ns=(file.modified, file.modified))


def _appear(thing: Thing, marker: Marker, place: Path, names: list[str], fresh: list[str]) -> None:
    """Of a run file by file, run.json last; anything else at once."""
    if thing.kind == UPLOADS:
        thing.local.parent.mkdir(parents=True, exist_ok=True)
        os.replace(place / thing.name, thing.local)
        return
    if thing.kind not in SHELVES:
        _move(sorted(fresh, key=lambda name: name == "run.json"), place, thing.local)
        for name in set(publish.names_of(thing)) - set(names):
            (thing.local / name).unlink()
        return
    for name in set(names) - set(fresh):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(thing.local / name, place / name)
    thing.local.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f"{place.name}-aside")
    with suppress(FileNotFoundError):
        os.replace(thing.local, aside)
    os.replace(place, thing.local)
    shutil.rmtree(aside, ignore_errors=True)


def _move(names: Iterable[str], place: Path, final: Path) -> None:
    for name in names:
        (final / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(place / name, final / name)


def _forget(thing: Thing) -> None:
    """What was removed from the store goes here too, unless it has changed here since. A run of another machine is never changed here."""
    known = ledger.get(thing)
    of_another = known is not None and thing.kind == "results" and known.marker.place != ledger.place()
    if known and thing.local.exists() and (of_another or not _has_changed(thing, known)):
        if thing.kind == "results":
            runs.remove(thing.name)
        elif thing.local.is_dir():
            shutil.rmtree(thing.local)
        else:
            thing.local.unlink()
    ledger.forget(thing)


@contextmanager
def _landing() -> Iterator[Path]:
    """A folder for what is half-downloaded."""
    place = ledger.folder() / "incoming" / secrets.token_hex(4)
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
