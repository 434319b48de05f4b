"""What a running verb writes with: events, progress, scratch space, and publishing at the end.

What a run makes appears last, by atomic rename.
"""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from core import paths
from core.errors import UserError
from core.runs import Run, now


@dataclass(frozen=True)
class Workspace:
    """What a running verb writes with: events, progress, scratch space, and publishing at the end."""

    run: Run
    heard: Callable[[str, dict[str, Any]], None] | None = None
    """Told of every event, its kind and values: by a stage, for the run that it is a stage of."""

    KEEP_SECONDS: ClassVar[float] = 30.0
    """How often what is half-made is `kept`."""

    @property
    def path(self) -> Path:
        """The run's folder: tables go here."""
        return self.run.path

    @property
    def scratch(self) -> Path:
        """A folder for what is half-made; gone when the run is done or cancelled, kept for resuming when it failed."""
        made = self.run.path / "work"
        made.mkdir(exist_ok=True)
        return made

    def event(self, kind: str, **values: Any) -> None:
        """Append one line to events.jsonl."""
        line = json.dumps({"time": now(), "kind": kind, **values}, ensure_ascii=False)
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self.heard:
            self.heard(kind, values)

    def progress(self, done: float, total: float, unit: str, message: str = "") -> None:
        """Say how far the run is: `done` of `total` `unit` (steps, answers, verdicts, rows)."""
        self.event("progress", done=done, total=total, unit=unit, message=message)

    def say(self, message: str) -> None:
        """One line for the person who watches: an event, and a line of the log."""
        self.event("say", message=message)
        print(message, flush=True)

    def kept(self) -> None:
        """Say that what stands in the run's folder is enough to go on from: a run on one machine has it there already."""

    @contextmanager
    def tables(self) -> Iterator[None]:
        """Within: no other process writes the run's tables. A run in one process has them for itself."""
        yield

    def publish(self, made: Path, final: Path, replace: bool = False) -> Path:
        """Move a finished file or folder to its place, by atomic rename.

        A taken place is an error unless `replace`, or unless this very run filled it before it was killed.
        """
        if paths.store() and not replace:
            from core import store

            store.refuse_taken(final, self.run.run_id)
        final.parent.mkdir(parents=True, exist_ok=True)
        if made.is_dir() and final.exists() and not (replace or self.made(final)):
            raise UserError(
                f"'{final.name}' exists already in {final.parent}. Move it away and resume this run, which keeps what it made; "
                "or choose another name, or say replace=true."
            )
        try:
            self._exchange(made, final, aside=self.scratch)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._publish_apart(made, final)
        self.event("published", path=paths.shown(final))
        return final

    def made(self, folder: Path) -> bool:
        """Whether this run itself published the folder: then a resumed run may publish it again."""
        info = folder / "run.json"
        return info.exists() and json.loads(info.read_text(encoding="utf-8")).get("run_id") == self.run.run_id

    def _publish_apart(self, made: Path, final: Path) -> None:
        """Through a copy near `final`: no rename leads there when the home's folders are mounted apart (compose.yaml)."""
        near = final.parent / ".publishing" / self.run.run_id
        shutil.rmtree(near, ignore_errors=True)  # of an earlier try
        near.mkdir(parents=True)
        try:
            copy = near / final.name
            if made.is_dir():
                shutil.copytree(made, copy)
            else:
                shutil.copy2(made, copy)
            self._exchange(copy, final, aside=near)
        finally:
            shutil.rmtree(near, ignore_errors=True)
            with suppress(OSError):  # another run's copy is there
                near.parent.rmdir()

    def _exchange(self, made: Path, final: Path, aside: Path) -> None:
        """Rename to `final`; a folder that is there waits in `aside` until it is replaced."""
        if not (made.is_dir() and final.exists()):
            os.replace(made, final)
            return
        aside = aside / f"replaced-{final.name}-{secrets.token_hex(2)}"
        os.replace(final, aside)
        try:
            os.replace(made, final)
        except BaseException:
            if not final.exists():
                os.replace(aside, final)
            raise
        shutil.rmtree(aside)
