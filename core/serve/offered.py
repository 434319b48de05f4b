"""The models that the engine offers by name: the base model, and every adapter and merge on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core import adapter, paths, peft_files
from core.config import MergeConfig
from core.errors import UserError
from core.serve.engine import Engine
from core.serve.refusals import Refusal

BASE = "base"
_LISTED = 40
"""Names in an error."""


def adapter_names() -> list[str]:
    """Adapters and merges on disk. A route is none: it can't be part of a mix."""
    return [folder.name for folder in _folders()]


def models(engine: Engine) -> list[dict[str, Any]]:
    """OpenAI's model objects: what stands on this base model. `root`: what is behind the name; `parent`: what an adapter stands on."""
    base = _model(BASE, engine.started, engine.config.base_model, None)
    return [base, *(_model(each.name, _changed(each), each.name, BASE) for each in _folders() if _fits(engine, each))]


def model(engine: Engine, name: str) -> dict[str, Any]:
    """The object of one model. Raises Refusal for a name that is not offered."""
    found = next((each for each in models(engine) if each["id"] == name), None)
    if found is None:
        raise _unknown(engine, name)
    return found


def mix(engine: Engine, name: str) -> MergeConfig | None:
    """What a request asks for by a model's name; None: the base model. Raises Refusal for a name that is not offered."""
    if name == BASE:
        return None
    if name not in adapter_names():
        raise _unknown(engine, name)
    return MergeConfig(adapters=(name,))


def _folders() -> Iterator[Path]:
    for root in (paths.adapters(), paths.merged_adapters()):
        for file in sorted(root.glob(f"*/{peft_files.CONFIG}")):
            if not (file.parent / paths.ROUTER).exists():
                yield file.parent


def _fits(engine: Engine, folder: Path) -> bool:
    """Whether an adapter says that it stands on another base model, or can't be read. A foreign one says nothing, and is tried."""
    try:
        return adapter.read_info(folder).get("base_hash") in (None, engine.mixes.base_hash)
    except UserError:
        return False


def _model(name: str, created: int, root: str, parent: str | None) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "lyceum", "root": root, "parent": parent}


def _changed(folder: Path) -> int:
    return int((folder / peft_files.CONFIG).stat().st_mtime)


def _unknown(engine: Engine, name: str) -> Refusal:
    known = [each["id"] for each in models(engine)]
    listed = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more, see /v1/models" if len(known) > _LISTED else "")
    return Refusal(f"The engine offers no model '{name[:100]}'. It offers: {listed}.", 404, "model", "model_not_found")
