"""A run folder: `results/<run_id>/` with run.json, events.jsonl, log.txt and the run's tables.

run.json is written here alone, under a lock (results/.locks/), by temporary file and `os.replace`.
What a running verb writes with stands in core/workspace.py.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from core import paths
from core.errors import UserError, shown
from core.jobs import locks
from core.jobs.executor import Executor

Status = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[Status, ...] = ("done", "failed", "cancelled")
KEPT = ("run.json", "events.jsonl", "log.txt")
"""What remains of a cancelled run."""


@dataclass(frozen=True)
class Run:
    """What run.json holds. Times are ISO 8601, UTC."""

    run_id: str
    verb: str
    """A row of core/verbs.py: train, merge, evaluate, ..."""
    config: dict[str, Any]
    status: Status = "queued"
    created_at: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    pid: int | None = None
    """Process of the run, which leads its own process group."""
    error: str | None = None
    """One sentence for a person, when the run failed."""
    fault: Literal["user", "bug"] | None = None
    """Whose fault a failure is: 'user' for a UserError, 'bug' for anything else (a traceback in the log, a killed process)."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """What the run made; paths are relative to LYCEUM_HOME."""
    versions: dict[str, str] = field(default_factory=dict)
    parent: str | None = None
    """Run that this one is a stage of."""
    lane: str = ""
    """Jobs of one lane run one at a time: 'device' or 'desk'. Empty for a stage, which runs in its parent's process."""
    processes: int = 1
    """Processes that compute it; more than one under `accelerate launch` (core/jobs/launch.py)."""
    executor: Executor = "local"
    """Who computes it (core/jobs/executor.py)."""
    cwd: str = "."
    """Where relative paths of the config start; relative to LYCEUM_HOME when inside it."""

    @property
    def path(self) -> Path:
        """The run's folder."""
        return folder(self.run_id)

    @property
    def of_demo(self) -> bool:
        """Whether it is a stage of a demo: pages show a person's own runs before these."""
        return self.parent is not None and verb_of(self.parent) == "demo"


def now() -> str:
    """The time, ISO 8601, UTC, in milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def folder(run_id: str) -> Path:
    """The folder of a run, whether it exists or not."""
    return paths.results() / paths.check_name(run_id, "run")


def new(
    verb: str, config: dict[str, Any], parent: str | None = None, lane: str = "", processes: int = 1, executor: Executor = "local"
) -> Run:
    """A new run with a folder of its own, which nobody sees before `write`. Ids sort by time."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    run_id = f"{stamp}-{verb}-{secrets.token_hex(2)}"
    cwd = paths.shown(Path.cwd())
    run = Run(run_id, verb, config, created_at=now(), parent=parent, lane=lane, processes=processes, executor=executor, cwd=cwd)
    run.path.mkdir(parents=True)
    return run


def verb_of(run_id: str) -> str:
    """The verb that a run's id names."""
    return run_id.rsplit("-", 2)[-2]


def create(verb: str, config: dict[str, Any], parent: str | None = None, executor: Executor = "local") -> Run:
    """A new run, queued."""
    return write(new(verb, config, parent, executor=executor))


def read(run_id: str) -> Run:
    """The run with this id; 'last' is the newest."""
    if run_id == "last":
        newest = listing()
        if not newest:
            raise UserError(f"There is no run in {paths.results()} yet, so there is no last one. Start one first.")
        return newest[0]
    try:
        return _parse(folder(run_id) / "run.json")
    except FileNotFoundError:
        raise UserError(f"There is no run '{run_id}' in {paths.results()}. List them with: python -m core jobs") from None


def listing(verb: str | None = None, status: Status | None = None, parent: str | None = None) -> list[Run]:
    """Runs, newest first. `parent`: only that run's stages."""
    runs = []
    for file in sorted(paths.results().glob("*/run.json"), reverse=True):
        with suppress(FileNotFoundError, UserError):  # removed since the folder was read; or damaged, which `read` tells
            runs.append(_parse(file))
    return [run for run in runs if verb in (None, run.verb) and status in (None, run.status) and parent in (None, run.parent)]


def update(run_id: str, *, only_if: Status | None = None, **changes: Any) -> Run:
    """Change fields of run.json and return the run as it is now. With `only_if`, nothing changes unless that is its status."""
    with locked(run_id):
        run = read(run_id)
        return write(replace(run, **changes)) if only_if in (None, run.status) else run


def requeue(run_id: str, processes: int = 1) -> Run:
    """Queue a run again that failed or was cancelled, as if it had never started; its folder stays as it is."""
    return update(run_id, status="queued", error=None, fault=None, pid=None, started_at=None, finished_at=None, processes=processes)


def write(run: Run) -> Run:
    """Write run.json. Of a run that others know already: only within `locked`."""
    temporary = run.path / f".run.json.{os.getpid()}"
    temporary.write_text(json.dumps(asdict(run), indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    os.replace(temporary, run.path / "run.json")
    return run


@contextmanager
def locked(run_id: str) -> Iterator[None]:
    """Nobody else changes this run's run.json within."""
    descriptor = locks.take(f"{folder(run_id).name}.json")
    try:
        yield
    finally:
        os.close(descriptor)


def remove(run_id: str) -> None:
    """Remove a run's folder and its locks."""
    with locked(run_id):
        shutil.rmtree(folder(run_id))
    for name in (run_id, f"{run_id}.json"):
        locks.forget(name)


def read_events(run_id: str, kind: str | None = None) -> list[dict[str, Any]]:
    """The run's events, oldest first."""
    return [event for event in events_since(run_id, 0)[0] if kind in (None, event["kind"])]


def events_since(run_id: str, position: int) -> tuple[list[dict[str, Any]], int]:
    """Events from this byte of events.jsonl on, oldest first, and the byte to go on from."""
    file = folder(run_id) / "events.jsonl"
    if not file.exists():
        return [], position
    with file.open("rb") as opened:
        opened.seek(position)
        lines = opened.read().rpartition(b"\n")[0]
    return list(_events(lines.splitlines())), position + len(lines) + bool(lines)


def log_tail(run_id: str, lines: int = 20) -> str:
    """The last lines of the run's log (of its last 64 KiB)."""
    file = folder(run_id) / "log.txt"
    if not file.exists():
        return ""
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - 65536))
        return "\n".join(opened.read().decode("utf-8", errors="replace").splitlines()[-lines:])


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of packages, for run.json and signatures."""
    from importlib.metadata import version

    return {package: version(package) for package in packages}


def _parse(file: Path) -> Run:
    known = {each.name for each in fields(Run)}
    try:
        run = Run(**{key: value for key, value in json.loads(file.read_text(encoding="utf-8")).items() if key in known})
        _check(run)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({error}), so this run can't be told or resumed. Remove its folder.") from None
    if run.run_id != file.parent.name:
        raise UserError(f"{file} is that of run '{run.run_id}', so its folder is a copy under another name. Remove or rename the folder.")
    return run


def _check(run: Run) -> None:
    """Raises TypeError or ValueError for values that no run has."""
    kinds: dict[Any, tuple[str, ...]] = {
        str: ("run_id", "verb", "created_at", "lane", "cwd"),
        (str, type(None)): ("started_at", "finished_at", "error", "fault", "parent"),
        (int, type(None)): ("pid",),
        int: ("processes",),
        dict: ("config", "outputs", "versions"),
    }
    for kind, names in kinds.items():
        if wrong := [name for name in names if not isinstance(getattr(run, name), kind)]:
            raise TypeError(f"'{wrong[0]}' can't be {shown(getattr(run, wrong[0]))}")
    if run.status not in get_args(Status):
        raise ValueError(f"'status' can't be {shown(run.status)}")
    if run.executor not in get_args(Executor):
        raise ValueError(f"'executor' can't be {shown(run.executor)}")
    for time in filter(None, (run.created_at, run.started_at, run.finished_at)):
        if datetime.fromisoformat(time).tzinfo is None:
            raise ValueError(f"'{time}' has no time zone")


def _events(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError):  # a full disk can tear a line
            yield json.loads(line)
