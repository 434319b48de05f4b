"""What a request asks for, a merge's config, made into weights over adapters that a bank can hold.

The exact weighted sum needs no merge: its adapters stand in the bank, and its weights are the bank's. Every other strategy, space or
rank becomes a temporary adapter, made as a merge would make it and never written.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core import adapter
from core.adapter import Adapter, Factor
from core.config import MergeConfig
from core.errors import UserError
from core.merge import parents, recipe
from core.merge.combine import combine
from core.merge.parents import Parent
from core.routing import Route

KEPT_BYTES = 1 << 30
"""Adapters that stay in main memory, the most recently used, up to this size together."""
NO_NUMBERS = "The base model's outputs are no numbers any more under this mix (NaN or infinity): it is too strong. Lower its weights."
REPLACED = "An adapter was replaced just now, while it was read. Ask again."


@dataclass(frozen=True)
class Part:
    """An adapter's share in a mix."""

    digest: str
    """Content hash of the adapter; of a temporary one, what it is made of."""
    adapter: Adapter
    weight: float


@dataclass(frozen=True)
class Mix:
    """What answers a row: the base model and its weighted adapters."""

    parts: tuple[Part, ...] = ()
    route: Route | None = None
    """By token: its weights over the parts, in their order, take the place of theirs."""


@dataclass(frozen=True)
class Plan:
    """A mix that is known by name, before any adapter is read."""

    config: MergeConfig | None
    everyone: tuple[tuple[str, Path, float, str], ...]
    """Name, folder, weight and content hash of each adapter that takes part."""
    identity: str
    """The same for the same contents of adapters, weights and settings."""
    route: Route | None = None
    """A route by token over the adapters."""

    @property
    def exact(self) -> bool:
        """Whether the bank's weights alone make it."""
        return self.config is None or self.config.is_weighted_sum


BASE = Plan(None, (), "base")
"""The base model alone."""


class Mixes:
    """Plans mixes, and keeps the adapters that they need in memory. Safe to use from several threads."""

    no_routes = ""
    """Why routes can't be followed, in a sentence; empty: they can."""

    def __init__(self, base_name: str, base_hash: str) -> None:
        self._base_name, self.base_hash = base_name, base_hash
        self._lock = threading.Lock()
        self._adapters: OrderedDict[str, Adapter] = OrderedDict()
        """By content hash, and temporary ones by the identity of their plan; the most recently used last."""
        self._hashes: dict[Path, tuple[object, str]] = {}

    def plan(self, config: MergeConfig | None) -> Plan:
        """Check what is asked for. All weights 0 is the base model. Raises UserError for what can't be mixed."""
        if config is None:
            return BASE
        config = recipe.read(config) if config.recipe else config
        weights = config.weights or [1 / len(config.adapters)] * len(config.adapters)
        found = parents.find(config.adapters, weights if any(weights) else [1.0] * len(weights))
        if not any(weights):
            return BASE
        active = [each for each in found if parents.takes_part(config, each[2])]
        for name, folder, _ in active:
            self._check_base(name, folder)
        everyone = tuple((name, folder, weight, self._hash(folder)) for name, folder, weight in active)
        return Plan(config, everyone, _identity(config, [(weight, digest) for *_, weight, digest in everyone]))

    def routed(self, route: Route, identity: str) -> Plan:
        """A route by token, whose adapters all take part. Raises UserError for those of another base model."""
        for folder in route.adapters:
            self._check_base(folder.name, folder)
        everyone = tuple((folder.name, folder, 0.0, self._hash(folder)) for folder in route.adapters)
        return Plan(None, everyone, identity, route)

    def made(self, plan: Plan) -> Mix | None:
        """The mix, if it can be had at once: nothing must be merged for it."""
        return self.make(plan) if plan.exact or plan.identity in self._adapters else None

    def make(self, plan: Plan, progress: Callable[..., None] = lambda *_: None) -> Mix:
        """The mix; where its strategy needs it, through a temporary adapter. What `progress` raises breaks the work off."""
        if plan.exact:
            parts = tuple(Part(each.content_hash, each.adapter, each.weight) for each in map(self._parent, plan.everyone))
            return Mix(parts if plan.route else _added_up(parts), plan.route)
        made = self._kept(plan.identity, lambda: self._merge(plan, progress))
        return Mix((Part(plan.identity, made, 1.0),) if made.factors else ())

    def _merge(self, plan: Plan, progress: Callable[..., None]) -> Adapter:
        """As a merge would write it, in fp32."""
        assert plan.config is not None
        active = [self._parent(each) for each in plan.everyone]
        parents.check(active)
        combined = combine(active, plan.config, progress)
        factors = {layer: each.factor for layer, each in combined.items() if each.factor.rank}
        rounded = {layer: Factor(factor.A.float(), factor.B.float(), factor.scale) for layer, factor in factors.items()}
        return Adapter("the mix", rounded, active[0].adapter.base_model)

    def _parent(self, named: tuple[str, Path, float, str]) -> Parent:
        name, folder, weight, digest = named
        return Parent(name, folder, weight, digest, self._kept(digest, lambda: _read(name, folder, digest)))

    def _kept(self, key: str, make: Callable[[], Adapter]) -> Adapter:
        """What is in memory under this key, or else is made now; the least recently used leave."""
        with self._lock:
            known = self._adapters.get(key)
        made = known or make()
        with self._lock:
            self._adapters[key] = made
            self._adapters.move_to_end(key)
            while not known and len(self._adapters) > 1 and sum(map(_bytes, self._adapters.values())) > KEPT_BYTES:
                self._adapters.popitem(last=False)
        return made

    def _hash(self, folder: Path) -> str:
        """The adapter's content hash, remembered until a file of it changes."""
        found = [file.stat() for file in sorted(folder.iterdir())]
        stamp = tuple((file.st_ino, file.st_size, file.st_mtime_ns) for file in found)
        with self._lock:
            known = self._hashes.get(folder)
        if known is None or known[0] != stamp:
            known = (stamp, adapter.content_hash(folder))
            with self._lock:
                self._hashes[folder] = known
        return known[1]

    def _check_base(self, name: str, folder: Path) -> None:
        adapter.check_config(folder)  # its hash is of its delta alone, and the delta may be known by another name
        info = adapter.read_info(folder)
        if info.get("base_hash") not in (None, self.base_hash):
            raise UserError(
                f"'{name}' was trained on {info.get('base_model') or 'another base model'}, and the engine holds {self._base_name}. "
                "A delta only means something on its own base; start the engine on that one."
            )


def _added_up(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Adapters of the same content, under whatever names, are one with the sum of their weights."""
    found: dict[str, Part] = {}
    for part in parts:
        known = found.get(part.digest)
        found[part.digest] = replace(known, weight=known.weight + part.weight) if known else part
    return tuple(found.values())


def _read(name: str, folder: Path, digest: str) -> Adapter:
    found = recipe.parent(name, folder, 1.0)
    if found.content_hash != digest:
        raise UserError(REPLACED)
    return found.adapter


def _identity(config: MergeConfig, parts: list[tuple[float, str]]) -> str:
    """Of an exact sum: its adapters and weights in any order. Else everything that decides a merge."""
    if config.is_weighted_sum:
        return _digest(sorted(parts))
    return _digest([parts, config.model_dump(mode="json", include=set(recipe.SETTINGS) - {"dtype"})])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _bytes(adapter: Adapter) -> int:
    return sum(factor.A.nbytes + factor.B.nbytes for factor in adapter.factors.values())
