"""The models that the engine offers by name: the base model, every adapter, merge and route on disk, and mixes of adapters."""

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from core import adapter, paths, peft_config, routing, store
from core.config import MergeConfig
from core.errors import UserError
from core.routing import Route
from core.serve import names, requests
from core.serve.computing import Computing
from core.serve.mixes import Plan
from core.serve.refusals import Refusal

_LISTED = 40
"""Names in an error."""


def adapter_names() -> list[str]:
    """Adapters and merges on disk. A route is none: it can't be part of a mix."""
    return [folder.name for folder in _folders()]


def models(engine: Computing) -> list[dict[str, Any]]:
    """OpenAI's model objects: what stands on this base model. `root`: what is behind the name; `parent`: what an adapter stands on."""
    listed = [_model(names.BASE, engine.started, engine.config.base_model, None)]
    listed += [_model(each.name, _changed(each), each.name, names.BASE) for each in _folders() if _fits(engine, each)]
    routes = [each for each in _routes() if _fits(engine, each) and not engine.mixes.no_routes]
    listed += [_model(each.name, _changed(each), each.name, names.BASE) for each in routes]
    return listed + ([_model(names.ROUTE, _changed(routes[-1]), routes[-1].name, names.BASE)] if routes else [])


def model(engine: Computing, name: str) -> dict[str, Any]:
    """The object of one model. Raises Refusal for a name that is not offered."""
    found = next((each for each in models(engine) if each["id"] == name), None)
    if found is None:
        raise _unknown(engine, name)
    return found


def plan(engine: Computing, name: str, question: str) -> Plan:
    """What a request asks for by a model's name; `question` is what a route looks at.

    Raises Refusal for a name that is not offered, and UserError for what can't be mixed.
    """
    if name == names.BASE:
        return requests.plan(engine, None)
    if name.startswith(names.MIX):
        weights = names.mix_weights(name)
        if names.BASE in weights:
            raise UserError(f"The base model stands in every mix, so '{names.BASE}' has no weight there. Give the adapters smaller ones.")
        _check_offered(engine, weights)
        return requests.plan(engine, MergeConfig(adapters=tuple(weights), weights=tuple(weights.values())))
    if name in (routes := {each.name: each for each in _routes()}) or (name == names.ROUTE and routes):
        return _routed(engine, routes.get(name) or list(routes.values())[-1], question)
    _check_offered(engine, [name])
    return requests.plan(engine, MergeConfig(adapters=(name,)))


def _routed(engine: Computing, folder: Path, question: str) -> Plan:
    if engine.mixes.no_routes:
        raise Refusal(engine.mixes.no_routes, param="model")
    digest = routing.content_hash(folder)
    route = _read(engine, folder, digest)
    if route.by_token:
        return engine.mixes.routed(route, digest)
    weights = route.weights([question])[0].tolist()
    chosen = {str(place): weight for place, weight in zip(route.adapters, weights, strict=True) if weight}
    return requests.plan(engine, MergeConfig(adapters=tuple(chosen), weights=tuple(chosen.values())))


@lru_cache(4)
def _read(engine: Computing, folder: Path, digest: str) -> Route:
    """A route on the engine's device, until its folder changes."""
    return routing.load(folder).to(engine.device)


def _folders() -> Iterator[Path]:
    store.refresh()
    for root in (paths.adapters(), paths.merged_adapters()):
        for file in sorted(root.glob(f"*/{peft_config.CONFIG}")):
            if not routing.is_route(file.parent) and file.parent.name.isprintable():  # bytes that are no UTF-8 can't be sent
                yield file.parent


def _routes() -> list[Path]:
    """Oldest first."""
    return sorted((file.parent for file in paths.merged_adapters().glob(f"*/{paths.ROUTER}")), key=lambda each: (_changed(each), each.name))


def _fits(engine: Computing, folder: Path) -> bool:
    """Whether an adapter says that it stands on another base model, or can't be read. A foreign one says nothing, and is tried."""
    try:
        return adapter.read_info(folder).get("base_hash") in (None, engine.mixes.base_hash)
    except UserError:
        return False


def _model(name: str, created: int, root: str, parent: str | None) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "lyceum", "root": root, "parent": parent}


def _changed(folder: Path) -> int:
    """Unix time; 0 for a folder that was taken away just now."""
    file = folder / (paths.ROUTER if routing.is_route(folder) else peft_config.CONFIG)
    with suppress(FileNotFoundError):
        return int(file.stat().st_mtime)
    return 0


def _check_offered(engine: Computing, wanted: "list[str] | dict[str, float]") -> None:
    known = adapter_names()
    for name in wanted:
        if name not in known:
            raise _unknown(engine, name)


def _unknown(engine: Computing, name: str) -> Refusal:
    known = [each["id"] for each in models(engine)]
    listed = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more, see /v1/models" if len(known) > _LISTED else "")
    return Refusal(f"The engine offers no model '{name[:100]}'. It offers: {listed}.", 404, "model", "model_not_found")
