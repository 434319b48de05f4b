"""Data files and folders at a URL: a copy of them in the cache, made anew when what is there has another tag, size or time."""

import hashlib
import os
import secrets
import shutil
import time
from pathlib import Path, PurePosixPath
from typing import Any

from core import paths, private, store
from core.errors import UserError
from core.store import away
from core.store.remote import filesystem, token

SURE_SECONDS = 30.0
"""For so long a URL is not asked again."""
UNUSED_SECONDS = 24 * 3600.0
"""After so long a copy of what an address was before goes, for nobody reads it any more."""
_asked: dict[str, tuple[float, Path]] = {}


def local(url: str) -> Path:
    """The file, or the folder with all that is in it. Raises UserError for what isn't there, or can't be reached."""
    asked, place = _asked.get(url, (float("-inf"), Path()))
    if time.monotonic() > asked + SURE_SECONDS or not place.exists():
        wait, say = (away.patience(), print) if store.in_job else (0.0, None)
        place = away.ask(lambda: _copied(url), wait, say, private.removed_from(url))
        _asked[url] = time.monotonic(), place
    return place


def _copied(url: str) -> Path:
    fs, path = filesystem(url)
    try:
        files = _files(fs, path)
    except FileNotFoundError as error:
        if not away.is_missing(error):
            raise
        files = {}
    if not files:
        raise UserError(f"There is no file '{private.removed_from(url)}'. Check the address.")
    state = sorted((name, token(info)) for name, info in files.items())
    digest = hashlib.sha256(str(state).encode()).hexdigest()[:16]
    final = paths.cache() / "data" / paths.address_digest(url)[:16] / digest
    if not final.exists():
        _download(fs, {info["name"]: name for name, info in files.items()}, final)
    _forget_older(final)
    return final / path.rpartition("/")[2]


def _forget_older(final: Path) -> None:
    """Remove copies of an address as it was before, which no job has asked for in a day."""
    os.utime(final)
    for each in final.parent.iterdir():
        if time.time() - each.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(each, ignore_errors=True)


def _files(fs: Any, path: str) -> dict[str, dict[str, Any]]:
    """What lies at a path, by its place below the folder that holds it."""
    folder = path.rfind("/") + 1  # of a whole bucket none
    found = {path: fs.info(path)} if fs.isfile(path) else fs.find(path, detail=True)
    return {name[folder:]: info for name, info in found.items() if info["type"] == "file" and _inside(name[folder:])}


def _inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in PurePosixPath(name).parts


def _download(fs: Any, files: dict[str, str], final: Path) -> None:
    """Into a folder of its own, which appears whole."""
    place = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
    try:
        for name in files.values():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
        fs.get(list(files), [str(place / name) for name in files.values()])
        if not final.exists():
            os.replace(place, final)
    finally:
        shutil.rmtree(place, ignore_errors=True)
