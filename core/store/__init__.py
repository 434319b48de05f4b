"""The store: adapters, models, runs and uploads at a URL of LYCEUM_HOME (S3-compatible, or a shared folder), for several machines.

Each machine has a working copy, and everything else in Lyceum reads and writes that. What is published goes up (publish.py), what others
published comes down (incoming.py); marker.py says what lies where, running.py what a run does, away.py what happens when the store is away.
This door is light, and for a home that is a plain folder it does nothing.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core import paths, read_only
from core.errors import UserError
from core.runs import Run
from core.workspace import Workspace

LOOK_SECONDS = 5.0
"""How old a page's knowledge of the store may be."""
REST_SECONDS = 60.0
"""How often a page's process looks for what killed processes left behind."""
WAIT_SECONDS = 5.0
"""How long a command waits for a store that is away, before it goes on with what is here."""
START_SECONDS = 60.0
"""How long a job does."""

in_job = False
"""Whether this process does a job, which waits for what a page or a command tells at once."""

_looking = threading.Lock()
_looked = _rested = float("-inf")
_news: list[str] = []


def fetch(say: Callable[[str], None] | None = None) -> list[str]:
    """Bring the working copy up to date, and up what was left here. Returns what a person should know.

    `say`: of a job, which waits longer, and says so.

    Raises UserError for a store that can't be used: a wrong key, no such bucket, a server that was never reached from here.
    """
    global in_job
    in_job = say is not None
    if not paths.store():
        return []
    from core.store import away, incoming, ledger, running

    try:
        wait = min(START_SECONDS, away.patience()) if say else WAIT_SECONDS if _was_reached(ledger.folder()) else 0.0
        news = incoming.fetch(wait, say)
        if not read_only.active():
            running.rest()
    except away.Away as error:
        if not _was_reached(ledger.folder()):
            server = paths.endpoint() or "Its server"
            raise UserError(
                f"{error} {server} was never reached from here. Check LYCEUM_HOME, AWS_ENDPOINT_URL and the network."
            ) from error
        return [f"{error} This is what this machine has of it."]
    return news


def refresh() -> list[str]:
    """The same for a page: at once, in the background when the last look is some seconds old. Returns what that look has found."""
    global _looked
    if paths.store() and time.monotonic() > _looked + LOOK_SECONDS and _looking.acquire(blocking=False):
        _looked = time.monotonic()
        threading.Thread(target=_look, daemon=True).start()
    return _news if paths.store() else []


def elsewhere(run_id: str) -> str | None:
    """The name of the machine where a run is; None for a run of this one."""
    if not paths.store():
        return None
    from core.store import running

    return running.elsewhere(run_id)


def is_lost(run_id: str) -> str | None:
    """A sentence for a run whose machine has not been heard of for long; None for all others."""
    if not paths.store():
        return None
    from core.store import running

    since, host = running.lost(run_id), running.elsewhere(run_id)
    return f"The machine {host} has not been heard of since {since[:19].replace('T', ' ')} UTC." if since else None


def refuse_elsewhere(run: Run, what: str) -> None:
    """Raises UserError for a run of another machine. `what`: such as 'cancelled'."""
    if host := elsewhere(run.run_id):
        raise UserError(f"Run '{run.run_id}' is on the machine {host}, so it can't be {what} from here. Do it there.")


def take_over(run: Run) -> None:
    """From now on a run is of this machine: it is resumed here, wherever it failed. Raises UserError where its folder isn't here."""
    if elsewhere(run.run_id):
        from core.store import ledger
        from core.store.marker import Thing

        if not (paths.home() / run.cwd).is_dir():
            raise UserError(
                f"Run '{run.run_id}' was submitted in the folder {run.cwd}, where its paths begin, and this machine has none of that name. "
                f"Resume it on {elsewhere(run.run_id)}, or submit its settings anew."
            )
        ledger.forget(Thing("results", run.run_id))


def remove_run(run_id: str) -> None:
    """Take a run out of the store, before its folder here goes. Raises UserError when the store is away."""
    if paths.store():
        from core.jobs import locks
        from core.store import publish
        from core.store.marker import Thing

        os.close(locks.take(run_id))  # its worker may still tell how it ended
        publish.remove(Thing("results", run_id), WAIT_SECONDS)


@contextmanager
def told(run_id: str) -> Iterator[None]:
    """Within, the store hears how a run goes on."""
    if not paths.store():
        yield
        return
    from core.store import running

    with running.told(run_id):
        yield


def settle(workspace: Workspace, outputs: dict[str, Any]) -> None:
    """Wait until the store has all that a job made, before the job says that it is done."""
    if paths.store():
        from core.store import running

        running.settle(workspace, outputs)


def computed(run: Run) -> dict[str, Any] | None:
    """The outputs of a resumed run that has nothing left to do but to bring them up; None for one that has to compute."""
    if not paths.store():
        return None
    from core.store import running

    return running.computed(run)


def refuse_taken(final: Path, run_id: str) -> None:
    """Raises UserError for a name that the store has from another run. A store that is away is asked later."""
    if not paths.store():
        return
    from core.store import away, publish
    from core.store.marker import SHELVES, thing_of

    thing = thing_of(final)
    if thing and thing.kind in SHELVES:
        try:
            marker = away.ask(lambda: publish.read(thing))
        except away.Away:
            return
        if marker and marker.run_id != run_id:
            raise publish.taken(thing, marker)


def need(folder: Path) -> None:
    """Have every file of a model here: the large ones come at their first use."""
    if paths.store() and folder.parent == paths.models():
        from core.store import away, incoming

        incoming.need(folder, away.patience())


def _was_reached(folder: Path) -> bool:
    return (folder / "reached").exists()


def _look() -> None:
    global _news, _looked, _rested
    from core.store import away, incoming, running

    try:
        _news = incoming.fetch()
        if time.monotonic() > _rested + REST_SECONDS and not read_only.active():
            running.rest()
            _rested = time.monotonic()
    except away.Away as error:
        _news = [f"{error} Pages show what this machine has of it."]
    except UserError as error:
        _news = [str(error)]
    finally:
        _looked = time.monotonic()
        _looking.release()
