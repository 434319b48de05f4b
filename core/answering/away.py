"""Answering on a Ray cluster: units dealt over its workers, each of which loads the base and the adapters once."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core import paths
from core.answering.ask import Asking, Unit
from core.answering.ask import answer as answer_here
from core.answering.kept import Kept
from core.answering.models import Model
from core.cluster.away import Away
from core.cluster.connection import connect, slots
from core.cluster.hands import Hand, Hands
from core.models.load import load
from core.wording import count
from core.workspace import Workspace

_ANSWERS = "answers"


@dataclass(frozen=True)
class Work:
    """What a worker answers."""

    asking: Asking
    units: Sequence[Unit]


def answer(asking: Asking, units: Sequence[Unit], kept: Kept, workspace: Workspace) -> None:
    """Have the units answered in the cluster, and keep them."""
    _collect(kept, workspace)
    missing = [unit for unit in units if unit.key not in kept]
    connect(workspace.say)
    found = slots(workspace.say)
    places = {folder: _place(folder) for model in asking.models for folder in _folders(model)}
    sent = replace(asking, models=[_moved(model, lambda folder: Path(places[folder])) for model in asking.models])
    hands = [
        Hand(
            f"hand-{place}", "core.answering.away:answer_hand", Work(sent, own), sum(unit.answers for unit in own), count(len(own), "unit")
        )
        for place in range(found.count)
        if (own := missing[place :: found.count])
    ]
    at_work = Hands(workspace, found, "answers", {place: folder for folder, place in places.items()})
    at_work.compute(hands)
    _collect(kept, workspace)


def answer_hand(work: Work, away: Away) -> None:
    """On a worker."""
    here = replace(work.asking, models=[_moved(model, paths.home().joinpath) for model in work.asking.models])
    kept = Kept(away.scratch / _ANSWERS)
    config = here.config
    base = load(config.base_model, quantization=config.quantization, precision=config.precision, device=config.device)
    answer_here(here, [unit for unit in work.units if unit.key not in kept], base, kept, away)


def _collect(kept: Kept, workspace: Workspace) -> None:
    """Keep what hands have sent; what a driver that died had heard is dealt anew without it."""
    hands = workspace.scratch / "hands"
    for file in hands.glob(f"*/work/{_ANSWERS}/*.json"):
        os.replace(file, kept.folder / file.name)
    shutil.rmtree(hands, ignore_errors=True)


def _moved(model: Model, to: Callable[[Path], Path]) -> Model:
    """The model with its folders elsewhere."""

    def mix(weights: Mapping[Path, float]) -> dict[Path, float]:
        return {to(folder): weight for folder, weight in weights.items()}

    return replace(
        model,
        mix=mix(model.mix),
        alone=model.alone and to(model.alone),
        routed=tuple(map(mix, model.routed)),
        by_category={category: mix(weights) for category, weights in model.by_category.items()},
    )


def _folders(model: Model) -> list[Path]:
    return [*model.folders, *([model.alone] if model.alone else [])]


def _place(folder: Path) -> str:
    """Where a worker's home has a folder: as here, or apart where it stands elsewhere on this machine."""
    if folder.is_relative_to(paths.home()):
        return paths.shown(folder)
    return f"elsewhere/{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}/{folder.name}"
