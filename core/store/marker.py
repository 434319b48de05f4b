"""What lies in the store, and the marker that says so: `published/<kind>/<name>.json`, written when all that it names is there.

The files of a thing lie in `<kind's folder>/<name>/<version>/`, each in the version that first brought it with this content. A reader
believes only what a marker names: what a dead writer left half-done is named by none. Replacing writes another version, then the marker.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from core import paths
from core.errors import UserError, shown

UPLOADS = "data/uploads"
KINDS: dict[str, Callable[[], Path]] = {
    "adapters": paths.adapters,
    "merged_adapters": paths.merged_adapters,
    "models": paths.models,
    "results": paths.results,
    UPLOADS: lambda: paths.home() / UPLOADS,
}
"""What is published, and where it lies on this machine. An upload is a file, all others are folders."""
SHELVES = ("adapters", "merged_adapters", "models")
"""What runs publish besides themselves."""
PREFIX = "published"


@dataclass(frozen=True)
class Thing:
    """One thing of the store. Raises UserError for a name that could leave its folder."""

    kind: str
    name: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"The store holds no '{shown(self.kind)}'. It holds: {', '.join(KINDS)}.")
        paths.check_name(self.name, self.kind)

    @property
    def local(self) -> Path:
        """Its place on this machine."""
        return KINDS[self.kind]() / self.name

    @property
    def key(self) -> str:
        """Where its versions lie in the store."""
        return f"{self.kind}/{self.name}"

    @property
    def marker(self) -> str:
        """Where its marker lies in the store."""
        return f"{PREFIX}/{self.key}.json"


@dataclass(frozen=True)
class File:
    """One file of a thing."""

    size: int
    """Bytes."""
    sha256: str
    modified: int
    """Unix time in nanoseconds: of two adapters of a category the newer one counts, and what was made of a table knows it by its time."""
    version: str
    """The folder in which it lies."""


@dataclass(frozen=True)
class Marker:
    """What a marker holds."""

    version: str
    place: str
    """The working copy that wrote it: its host's name and four characters."""
    at: str
    """When, ISO 8601, UTC."""
    run_id: str = ""
    """The run that published it; of a run, itself."""
    status: str = ""
    """Of a run."""
    files: dict[str, File] = field(default_factory=dict)
    """By path within the thing."""

    @property
    def host(self) -> str:
        """The name of the machine that wrote it."""
        return self.place.rpartition("-")[0]

    def age(self) -> float:
        """Seconds since it was written, by the clocks of two machines."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.at)).total_seconds()

    def says(self, run_id: str, status: str) -> bool:
        """Whether it tells of this run in this state."""
        return (self.run_id, self.status) == (run_id, status)

    def text(self) -> str:
        """The marker as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def parse(text: bytes, thing: Thing) -> Marker:
    """The marker that this text holds. Raises UserError for a damaged one, and for one that names files outside of its thing."""
    try:
        values: dict[str, Any] = json.loads(text)
        files = {name: File(**_of(File, each)) for name, each in values.pop("files").items()}
        marker = Marker(**_of(Marker, values), files=files)
        texts = (marker.version, marker.place, marker.at, marker.run_id, marker.status)
        numbers = [number for each in files.values() for number in (each.size, each.modified)]
        if not all(isinstance(each, str) for each in texts) or not all(isinstance(each, int) for each in numbers):
            raise ValueError("a value of another kind than it should be")
        marker.age()
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UserError(f"The store's marker {thing.marker} is damaged ({shown(str(error))}). Publish {thing.name} again.") from None
    for name, each in files.items():
        if not (inside(name) and inside(each.version) and "/" not in each.version):
            raise UserError(f"The store's marker {thing.marker} names '{shown(name)}', outside of its folder. Lyceum didn't write it.")
    return marker


def _of(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values that a class has fields for: a newer Lyceum may have more."""
    return {each.name: values[each.name] for each in fields(kind) if each.name in values}


def inside(name: str) -> bool:
    """Whether a relative path stays in its folder and can be told: no '..', no hidden part, nothing unprintable."""
    parts = PurePosixPath(name).parts
    plain = all(part[0] != "." and "\\" not in part for part in parts)
    return bool(parts) and plain and len(name) <= 400 and name.isprintable() and str(PurePosixPath(*parts)) == name and name[0] != "/"


def thing_of(path: Path) -> Thing | None:
    """The thing that lies at this place of the home; None for what is not published."""
    return next((Thing(kind, path.name) for kind, folder in KINDS.items() if path.parent == folder()), None)
