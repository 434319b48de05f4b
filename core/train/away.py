"""Training on a Ray cluster: members dealt over its workers by their tokens, each hand a cohort on a worker's device."""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from core import results
from core.cluster.away import Away
from core.cluster.connection import connect, slots
from core.cluster.hands import Hand, Hands
from core.models.memory import peak_mb
from core.results import Row, Step, ValidationRow
from core.train.cohort import Member
from core.train.distributed import deal, finished, tokens
from core.train.part import begin, rows
from core.train.speed import Speed
from core.wording import count
from core.workspace import Workspace

TABLES: dict[str, type[Row]] = {"steps.csv": Step, "validation_rows.csv": ValidationRow}
JOIN_SHARE = 0.05
"""Share of a run's time that bringing its workers' tables together may take while it goes on."""


def train(members: Sequence[Member], workspace: Workspace) -> tuple[dict[str, Path], Speed, float]:
    """In the cluster. Returns folders by member, the speed of all workers together, and the largest peak memory of one, in MB."""
    connect(workspace.say)
    found = slots(workspace.say)
    hands = [_hand(place, own) for place, own in enumerate(_dealt(members, workspace, found.count))]
    each = "a GPU" if found.gpus else count(int(found.cpus), "CPU")
    workspace.say(f"{count(len(members), 'adapter')} in {count(len(hands), 'hand')}, for {count(found.count, 'worker')} with {each} each.")
    at_work = Hands(workspace, found, "steps")
    tables = _Tables(members, workspace, [at_work.folder(hand) for hand in hands])
    told = at_work.compute(hands, tables.now_and_then)
    tables.join()
    speeds = [Speed(**each["speed"]) for each in told]
    whole = Speed(
        sum(each.tokens_per_second for each in speeds),
        sum(each.flops_per_second for each in speeds),
        sum(each.matrix_peak for each in speeds),
        speeds[0].dtype,
    )
    folders = {member.name: finished(at_work.folder(hand) / "work", member) for hand in hands for member in hand.payload}
    return folders, whole, max(each["peak_memory_mb"] for each in told)


def train_hand(members: list[Member], away: Away) -> dict[str, Any]:
    """On a worker."""
    part = begin(members, away)
    part.train_all()
    return {"speed": vars(part.speed()), "peak_memory_mb": peak_mb(part.base.device)}


def _dealt(members: Sequence[Member], workspace: Workspace, count: int) -> list[list[Member]]:
    """Members of each hand; a resumed run keeps the hands that it began with, whatever the cluster has now."""
    file = workspace.scratch / "dealt.json"
    if not file.exists():
        hands = [hand for hand in deal([tokens(member) for member in members], count) if hand]
        file.write_text(json.dumps(hands))
    return [[members[k] for k in hand] for hand in json.loads(file.read_text())]


def _hand(place: int, members: list[Member]) -> Hand:
    names = [member.name for member in members]
    about = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return Hand(f"hand-{place}", "core.train.away:train_hand", members, sum(member.total_steps for member in members), about)


class _Tables:
    """The run's tables, brought together from the hands' in the order that a run in one process writes."""

    def __init__(self, members: Iterable[Member], workspace: Workspace, folders: Sequence[Path]) -> None:
        self._order = {member.name: place for place, member in enumerate(members)}
        self._workspace, self._folders = workspace, folders
        self._next = 0.0

    def now_and_then(self) -> None:
        """For who watches: not so often that it takes a noticeable part of the run's time."""
        if time.monotonic() > self._next:
            begun = time.monotonic()
            self.join()
            self._next = time.monotonic() + (time.monotonic() - begun) / JOIN_SHARE

    def join(self) -> None:
        """As far as they have arrived."""
        for name, kind in TABLES.items():
            files = [folder / name for folder in self._folders if (folder / name).exists()]
            if files:
                whole = pd.concat([results.read(file, kind) for file in files])
                whole["order"] = whole["adapter"].map(self._order)
                keys = ["step", "order"] if "step" in whole else ["order"]
                results.write(self._workspace.path / name, rows(whole.sort_values(keys, kind="stable"), kind), kind)
