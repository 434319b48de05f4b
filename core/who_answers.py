"""Models by their names, as the playground shows them: role, colour, and the adapters that take part with their weights.

Light: it reads what adapters' folders say of themselves. The engine alone says whether a model can answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core import charts, console, paths
from core.console import Shelf
from core.errors import UserError
from core.playground import own_categories
from core.serve import names
from core.wording import count, listed, three


@dataclass(frozen=True)
class Who:
    """One model."""

    name: str
    role: str
    """base, own, pooled, merged, mix, route or unknown."""
    colour: str
    weights: dict[str, float] = field(default_factory=dict)
    """By adapter: how much of each takes part."""
    said: str = ""
    """How it came about, in a few words."""

    @property
    def label(self) -> str:
        """Its title: a mix by its adapters, anything else by its name."""
        return f"Mix of {listed(list(self.weights), 3)}" if self.role == "mix" else self.name


@dataclass(frozen=True)
class Cast:
    """Everyone who can answer, by what is on disk."""

    shelf: Shelf
    merged: tuple[str, ...] = ()
    """Newest first."""
    routes: tuple[str, ...] = ()
    """Oldest first."""
    categories: tuple[str, ...] = ()
    """They give adapters their colours."""

    @property
    def own(self) -> dict[str, str]:
        """The category of each adapter that was trained on one."""
        return own_categories(self.shelf.infos)

    @property
    def names(self) -> list[str]:
        """All that can be chosen: base, adapters, merges, routes."""
        return [names.BASE, *self.shelf.infos, *self.merged, *self.routes]

    @property
    def first(self) -> tuple[str, ...]:
        """Who stands side by side at first: base, an own adapter, the pooled one, the newest merge."""
        own = next((self.shelf.own[each] for each in self.categories if each in self.shelf.own), None) or next(iter(self.own), None)
        newest = self.merged[0] if self.merged else None
        return (names.BASE, *(each for each in (own, self.shelf.pooled, newest) if each))

    def base_model(self, models: Sequence[str]) -> str:
        """The base model that the adapters behind these names stand on; where none is, that of all."""
        parts = [part for name in models for part in (name, *self.who(name).weights)]
        return self.shelf.base_model([part for part in parts if part in self.shelf.infos] or self.shelf.infos)

    def who(self, name: str) -> Who:
        """A model by its name; a name that nobody bears is told, not refused."""
        if name == names.BASE:
            return Who(name, "base", charts.ROLE["base"], said="no adapter")
        if name.startswith(names.MIX):
            return self._mix(name)
        if name in self.routes or (name == names.ROUTE and self.routes):
            return self._route(name)
        if name in self.merged:
            recipe = console.info(paths.merged_adapters() / name).get("recipe") or {}
            weights = dict(zip(recipe.get("adapters") or (), recipe.get("weights") or (), strict=False))
            return Who(name, "merged", charts.ROLE["merged"], weights, f"merged by {recipe['strategy']}" if recipe else "a merge")
        if name not in self.shelf.infos:
            return Who(name, "unknown", charts.OUTLINE, said="not on disk here")
        if self.shelf.infos[name].get("role") == "pooled":
            return Who(name, "pooled", charts.ROLE["pooled"], said="one adapter for all categories")
        category = self.own.get(name, "")
        return Who(name, "own", self.hue(name), said=f"adapter of {category}" if category else "an adapter")

    def hue(self, adapter: str) -> str:
        """An adapter's colour: its category's, or that of its role."""
        if adapter == self.shelf.pooled:
            return charts.ROLE["pooled"]
        return charts.hues(list(self.categories)).get(self.own.get(adapter, ""), charts.ACCENT)

    def _mix(self, name: str) -> Who:
        try:
            weights = names.mix_weights(name)
        except UserError as error:
            return Who(name, "unknown", charts.OUTLINE, said=str(error))
        return Who(name, "mix", charts.ROLE["merged"], weights, "mixed by the engine, exactly")

    def _route(self, name: str) -> Who:
        folder = name if name in self.routes else self.routes[-1]
        route: dict[str, Any] = console.info(paths.merged_adapters() / folder).get("route") or {}
        chosen = "each token" if route.get("router") == "arrow" else "the question"
        adapters: Sequence[str] = route.get("adapters") or ()
        said = f"route: {chosen} chooses among {count(len(adapters), 'adapter')}" if adapters else "a route"
        return Who(name, "route", charts.ROLE["route"], said=said)


def cast(categories: Sequence[str]) -> Cast:
    """Everyone on disk. `categories`: those of the data, in its order."""
    files = sorted(paths.merged_adapters().glob(f"*/{paths.ROUTER}"), key=lambda file: file.stat().st_mtime)
    routes = tuple(file.parent.name for file in files)
    merged = tuple(name for name in console.baked() if name not in routes)
    return Cast(console.shelf(), merged, routes, tuple(categories))


def words(weights: dict[str, float]) -> str:
    """Weights in a line."""
    return ", ".join(f"{name} {three(weight)}" for name, weight in weights.items())
