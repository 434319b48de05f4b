"""Things as runs and people leave them, and what of them lies where."""

import json

from core.store import ledger, publish
from core.store.marker import KINDS, UPLOADS, Thing
from core.store.remote import connect


def make(kind, name, size=1000, fill=b"1", run_id="20260101-000000-000-train-abcd"):
    """A thing as a run leaves it; an upload is a file."""
    thing = Thing(kind, name)
    if kind == UPLOADS:
        thing.local.parent.mkdir(parents=True, exist_ok=True)
        thing.local.write_bytes(fill * size)
        return thing
    (thing.local / "deep" / "er").mkdir(parents=True, exist_ok=True)
    for file in ("weights.safetensors", "deep/er/table.csv"):
        (thing.local / file).write_bytes(fill * size)
    (thing.local / "run.json").write_text(json.dumps({"run_id": run_id}))
    return thing


def up(thing, replace=False, run_id="20260101-000000-000-train-abcd"):
    return publish.publish(thing, publish.names_of(thing), run_id=run_id, replace=replace, wait=20.0)


def content(thing):
    """Every file of a thing here, by name."""
    return {name: ledger.path_of(thing, name).read_bytes() for name in publish.names_of(thing)} if thing.local.exists() else {}


def keys():
    """What lies in the store of this thing or that, markers apart."""
    remote = connect()
    return sorted(key for kind in KINDS for key in remote.sizes(kind))
