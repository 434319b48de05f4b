"""The driver's side: sends hands out, keeps what they send, and deals a lost one again."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, RayTaskError

from core.cluster import away
from core.cluster.away import Files, Shipment
from core.cluster.connection import Slots, connect, end_if_gone, slots
from core.cluster.losses import MOST_LOSSES, as_said, told
from core.errors import UserError
from core.wording import count, duration
from core.workspace import Workspace

LOOK_SECONDS = 5.0
LONELY_SECONDS = 30.0
"""After so long without a word from any hand, the person is told."""
RESULT = ".result.json"
"""In a hand's folder, written last: what its function returned."""


@dataclass(frozen=True)
class Hand:
    """Work for one worker."""

    name: str
    """A plain file name, the same when the run is resumed."""
    target: str
    """`module:function` taking (payload, core.cluster.away.Away); what it returns must be JSON-able."""
    payload: Any
    size: float = 1.0
    """How much of the run's progress it is."""
    about: str = ""
    """What it works on, for a person."""


class Hands:
    """Hands of one run, at work in a cluster. Their files stand in the run's scratch, in a folder for each."""

    def __init__(self, workspace: Workspace, slots: Slots, unit: str, home: Mapping[str, Path] | None = None) -> None:
        """`unit`: of the hands' sizes, for the progress. `home`: folders that every hand finds in its home, by their place there."""
        self._workspace, self._unit = workspace, unit
        self._options = {
            **{"num_cpus": slots.cpus, "num_gpus": slots.gpus, "num_returns": "streaming", "max_retries": 0},
            "_generator_backpressure_num_objects": away.UNSENT,  # without it Ray takes all at once, and the worker never waits
        }
        self._home = ray.put(_contents(home or {}))
        self._at_work: dict[Any, Hand] = {}
        self._coming: dict[Any, Any] = {}
        """The next message of a stream, while it is fetched: from a node that is cut off that may take for ever."""
        self._nodes: dict[str, str] = {}
        self._shares: dict[str, float] = {}
        self._losses: Counter[str] = Counter()
        self._places: dict[str, str] = {}
        self._said: set[str] = set()
        self._heard = self._looked = time.monotonic()

    def folder(self, hand: Hand) -> Path:
        """Where the files stand that a hand has sent."""
        return self._workspace.scratch / "hands" / hand.name

    def compute(self, hands: Sequence[Hand], arrived: Callable[[], None] = lambda: None) -> list[Any]:
        """What each hand's function returned, once all have. `arrived`: called when files of a hand have.

        Raises what a hand raises, and UserError for one that is lost again and again.
        """
        self._arrived = arrived
        self._shares = {hand.name: float(self._result(hand).exists()) for hand in hands}
        self._sizes = {hand.name: hand.size for hand in hands}
        for hand in hands:
            if not self._result(hand).exists():
                self._send(hand)
        while self._at_work:
            awaited = {self._coming.get(stream, stream): stream for stream in self._at_work}
            ready, _ = ray.wait(list(awaited), num_returns=1, timeout=1.0)
            for each in ready:
                self._hear(awaited[each])
            self._look()
        _sweep_everywhere()
        return [json.loads(self._result(hand).read_text(encoding="utf-8")) for hand in hands]

    def _send(self, hand: Hand) -> None:
        begun = {str(file.relative_to(self.folder(hand))): file.read_bytes() for file in _files(self.folder(hand))}
        shipment = Shipment(self._workspace.run, hand.target, hand.payload, begun, {})
        options = self._options | {"scheduling_strategy": "SPREAD", "name": f"{self._workspace.run.run_id} {hand.name}"}
        self._at_work[_work.options(**options).remote(shipment, self._home)] = hand

    def _hear(self, stream: Any) -> None:
        """The next message of a hand that has one, once it is here."""
        hand = self._at_work[stream]
        try:
            if stream not in self._coming:
                self._coming[stream] = next(stream)
                return
            kind, value = ray.get(self._coming.pop(stream))
        except StopIteration:
            del self._at_work[stream]
            return
        except RayTaskError as error:
            raise as_said(error, self._places.get(hand.name, "one that has just begun")) from None
        except RayError as error:
            self._deal_again(stream, error)
            return
        self._heard = time.monotonic()
        if kind == "node":
            self._nodes[hand.name] = value
        elif kind == "began":
            self._places[hand.name] = f"{value['host']}, process {value['pid']}"
            self._workspace.event("hand", name=hand.name, about=hand.about, **value)
        elif kind == "event":
            self._pass_on(hand, *value)
        elif kind == "files":
            self._losses.pop(hand.name, None)
            self._keep(hand, value)
            self._arrived()
        else:
            self._shares[hand.name] = 1.0
            self._places.pop(hand.name, None)
            _write(self._result(hand), json.dumps(value).encode())

    def _pass_on(self, hand: Hand, kind: str, values: dict[str, Any]) -> None:
        """What a hand says, once where several say it; its progress as a part of the whole."""
        if kind == "progress":
            self._shares[hand.name] = values["done"] / values["total"] if values["total"] else 0.0
            total = sum(self._sizes.values())
            done = sum(self._sizes[name] * share for name, share in self._shares.items())
            self._workspace.progress(round(done, 1), total, self._unit, values["message"])
        elif kind != "say":
            self._workspace.event(kind, **values)
        elif values["message"] not in self._said:
            self._said.add(values["message"])
            self._workspace.say(values["message"])

    def _keep(self, hand: Hand, files: Files) -> None:
        for name, content in files.items():
            if content is None:
                (self.folder(hand) / name).unlink(missing_ok=True)
            else:
                _write(self.folder(hand) / name, content)

    def _deal_again(self, stream: Any, error: RayError) -> None:
        """A worker or its node is gone: whoever is free next goes on from what has arrived."""
        hand = self._at_work.pop(stream)
        self._coming.pop(stream, None)
        self._nodes.pop(hand.name, None)
        self._losses[hand.name] += 1
        place = self._places.pop(hand.name, "a worker")
        memory = " It had no memory left." if isinstance(error, OutOfMemoryError) else ""
        if self._losses[hand.name] >= MOST_LOSSES:
            raise UserError(
                f"{hand.about or hand.name} was lost {MOST_LOSSES} times in a row, the last time on {place}, without getting any further "
                f"({type(error).__name__}).{memory} Mend the workers or give them more memory, then resume: "
                f"python -m core jobs --resume {self._workspace.run.run_id}"
            )
        kept = "from what it had sent" if _files(self.folder(hand)) else "from the beginning"
        what = f"{place}, which had {hand.about or hand.name} ({type(error).__name__})"
        self._workspace.say(f"Lost: {what}.{memory} It goes on elsewhere, {kept}.")
        self._send(hand)

    def _look(self) -> None:
        """Whether the cluster is still there, the nodes that have hands, and a worker that is free."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        end_if_gone()
        dead = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
        for stream, hand in list(self._at_work.items()):
            if self._nodes.get(hand.name) in dead:  # one without power says nothing, and Ray waits 7 minutes for its connection to break
                self._deal_again(stream, NodeDiedError(hand.name))
        waited = time.monotonic() - self._heard
        if waited > LONELY_SECONDS and not self._places:
            self._heard = time.monotonic()
            self._workspace.say(f"No worker of the cluster has been free for {duration(waited)}; {count(len(self._at_work), 'hand')} wait.")

    def _result(self, hand: Hand) -> Path:
        return self.folder(hand) / RESULT


def call(target: str, *arguments: Any, say: Callable[[str], Any]) -> Any:
    """One function (`module:function`) on the CPUs of one worker, and what it returns; Ray tries again where a worker dies."""
    connect(say)
    task = _call.options(num_cpus=slots(say).cpus, max_retries=MOST_LOSSES)
    with told(target):
        return ray.get(task.remote(target, arguments))


@ray.remote
def _work(shipment: Shipment, home: Mapping[str, bytes]) -> Any:
    yield "node", ray.get_runtime_context().get_node_id()
    yield from away.work(replace(shipment, home=home))


@ray.remote
def _call(target: str, arguments: Sequence[Any]) -> Any:
    import pkgutil

    return pkgutil.resolve_name(target)(*arguments)


@ray.remote(num_cpus=0)
def _sweep() -> None:
    away.sweep()


def _sweep_everywhere() -> None:
    """Remove what killed workers left on nodes that live."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    sweeps = [_sweep.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote() for node in nodes]
    ray.wait(sweeps, num_returns=len(sweeps), timeout=10)


def _contents(folders: Mapping[str, Path]) -> dict[str, bytes]:
    return {f"{place}/{file.relative_to(folder)}": file.read_bytes() for place, folder in folders.items() for file in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name != RESULT)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, file)
