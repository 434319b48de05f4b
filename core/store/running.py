"""What a run does with the store while it lives: it is told every few seconds, and its end waits for the store.

The worker of a run (core/jobs/worker.py) tells the store of it from its queueing to its end: run.json, events and log, and what the run
and its stages have published. Before the run says 'done', its own process waits until all that it made is up. If patience ends, the run
fails; resumed, it finds what it had computed and only brings it up.
"""

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from core import paths, runs
from core.errors import UserError, explained
from core.runs import ENDED, KEPT, Run
from core.store import away, ledger, publish
from core.store.ledger import Known
from core.store.marker import KINDS, SHELVES, UPLOADS, Thing, thing_of
from core.store.publish import Say
from core.workspace import Workspace

EVERY_SECONDS = 5.0
TELL_SHARE = 10.0
"""Between two tellings of a run lies as many times what the last one took: the events and the log of a long run are large."""
LAST_SECONDS = 10.0
"""How long the worker of an ended run tries to say so; after that, whoever looks at the store next from here does."""
ALIVE_SECONDS = 60.0
"""How often a run that has nothing new to tell gives a sign of life."""
SILENT_SECONDS = 1800.0
"""A run that another machine has not told of for so long is lost with that machine."""
COMPUTED = "computed.json"


def bring_up(run_id: str, wait: float = 0.0, say: Say | None = None, whole: bool = False) -> None:
    """Make the store's run what it is here, with its stages and all that they have published.

    `whole`: with its tables also while it runs. Raises Away, and UserError for a name that somebody else has taken.
    """
    run = runs.read(run_id)
    stages = runs.listing(parent=run_id)
    refused: list[UserError] = []
    for each in [*reversed(stages), run]:
        refused += _published(each, wait, say)
        _run(each, wait, say, whole)
    if refused:
        raise refused[0]


def rest(wait: float = 0.0) -> None:
    """Bring up what killed processes, uploads and votes have left here: what is complete, and not in the store as it is here."""
    for thing in [thing for kind in SHELVES for thing in _here(kind)]:
        if (thing.local / "run.json").exists() and ledger.get(thing) is None and not _under_way(info := _info(thing)):
            with _but_refusals():
                publish.publish(thing, publish.names_of(thing), run_id=str(info.get("run_id", "")), replace=False, wait=wait)
    heard, here = ledger.told(), ledger.place()
    for run in runs.listing():
        place, changed = heard.get(run.run_id, (here, 0))
        news = run.verb == "arena" or (run.path / "run.json").stat().st_mtime_ns != changed  # votes come when a round has ended
        if run.status in ENDED and place == here and news:
            _run(run, wait, None, whole=True)
    for thing in _here(UPLOADS):
        publish.publish(thing, [thing.name], run_id="", replace=True, wait=wait)


@contextmanager
def _but_refusals() -> Iterator[None]:
    """Within, a name that somebody else has taken is passed over: `fetch` tells of it each time."""
    try:
        yield
    except away.Away:
        raise
    except UserError:
        return


@contextmanager
def told(run_id: str) -> Iterator[None]:
    """Within, the store hears of a run every few seconds; and at the end how it ended."""
    stop = threading.Event()
    thread = threading.Thread(target=_tell, args=(run_id, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _tell_end(run_id)


def settle(workspace: Workspace, outputs: dict[str, Any]) -> None:
    """Wait until all that a finished job made is in the store. Raises UserError when patience is over: what was computed is kept."""
    run = workspace.run
    (workspace.scratch / COMPUTED).write_text(json.dumps(outputs, default=str), encoding="utf-8")
    if run.parent is not None:
        return
    try:
        bring_up(run.run_id, away.patience(), workspace.say, whole=True)
    except away.Away as error:
        raise UserError(
            f"{error} That is longer than {away.PATIENCE}={away.patience():g} s. All is computed and kept on this machine. "
            f"When the store answers again, this only brings it up: python -m core jobs --resume {run.run_id}"
        ) from error


def computed(run: Run) -> dict[str, Any] | None:
    """The outputs of a run that had computed everything when the store was away; None for one that has yet to compute."""
    file = run.path / "work" / COMPUTED
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def elsewhere(run_id: str) -> str | None:
    """The machine that a run was last told of by; None for a run of this working copy."""
    known = _of_another(run_id)
    return known.marker.host if known else None


def lost(run_id: str) -> str | None:
    """Since when nothing was heard of a run of another machine, when that is too long; ISO 8601, UTC."""
    known = _of_another(run_id)
    return known.marker.at if known and known.marker.age() > SILENT_SECONDS else None


def _of_another(run_id: str) -> Known | None:
    known = ledger.get(Thing("results", run_id))
    return known if known and known.marker.place != ledger.place() else None


def _tell(run_id: str, stop: threading.Event) -> None:
    heard, wait = True, 0.0
    while not stop.wait(wait):
        begun = time.monotonic()
        try:
            bring_up(run_id)
            if not heard:
                _say(run_id, "The store answers again, and has what this run has made so far.")
            heard = True
        except FileNotFoundError:  # of a cancelled run, whose files are being removed
            pass
        except Exception as raised:  # whatever it is, the run is told of again: one that is silent is taken for lost
            if heard:
                error = explained(raised)
                why = error if isinstance(error, UserError) else f"The store can't be told of this run ({type(error).__name__}: {error})."
                with suppress(OSError):
                    _say(run_id, f"{why} The run goes on; what it makes is kept here until the store has it.")
            heard = False
        wait = max(EVERY_SECONDS, TELL_SHARE * (time.monotonic() - begun))


def _tell_end(run_id: str) -> None:
    until = time.monotonic() + LAST_SECONDS
    while True:
        try:
            return bring_up(run_id, LAST_SECONDS)
        except FileNotFoundError:  # as above; soon they are gone
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        except UserError as error:
            return print(f"{error} The run's end is told to the store later, by whoever looks at it from this machine.", flush=True)


def _say(run_id: str, message: str) -> None:
    Workspace(runs.read(run_id)).say(message)


def _run(run: Run, wait: float, say: Say | None, whole: bool) -> None:
    thing = Thing("results", run.run_id)
    names = publish.names_of(thing) if whole or run.status in ENDED else [name for name in KEPT if (run.path / name).exists()]
    renew = math.inf if run.status in ENDED else ALIVE_SECONDS
    publish.publish(thing, names, run_id=run.run_id, status=run.status, replace=True, wait=wait, say=say, renew=renew)


def _published(run: Run, wait: float, say: Say | None) -> list[UserError]:
    """Bring up the adapters and models of a run. Returns what was refused: names that others have taken meanwhile."""
    refused = []
    for event in runs.read_events(run.run_id, "published"):
        thing = thing_of(paths.home() / event["path"])
        if thing and thing.kind in SHELVES:
            try:
                _made(run, thing, wait, say)
            except away.Away:
                raise
            except UserError as error:
                refused.append(error)
    return refused


def _made(run: Run, thing: Thing, wait: float, say: Say | None) -> None:
    """Bring up what a run has published, unless another has replaced it. What a cancelled run takes back here goes there too."""
    if Workspace(run).made(thing.local):
        replace = bool(run.config.get("replace"))
        publish.publish(thing, publish.names_of(thing), run_id=run.run_id, replace=replace, wait=wait, say=say)
    elif run.status == "cancelled" and not thing.local.exists():
        marker = away.ask(lambda: publish.read(thing), wait, say)
        if marker and marker.run_id == run.run_id:
            publish.remove(thing, wait, say)


def _here(kind: str) -> list[Thing]:
    return [Thing(kind, path.name) for path in sorted(KINDS[kind]().glob("*")) if paths.is_name(path.name)]


def _info(thing: Thing) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((thing.local / "run.json").read_text(encoding="utf-8"))
    return info


def _under_way(info: dict[str, Any]) -> bool:
    """Whether the run that made a thing still goes on: then it is that run's to publish."""
    try:
        return runs.read(str(info.get("run_id", ""))).status not in ENDED
    except UserError:
        return False
