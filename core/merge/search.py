"""Find the weights of a mix on validation loss. Of the data only the validation rows are ever tokenised.

Baselines come first: nothing, each adapter alone, equal weights of several strengths. Then an optimiser looks from the best of them,
and at last the surface of two adapters is drawn. All of it goes into trials.csv.
"""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from core import paths, results
from core.config import MergeConfig, SearchConfig
from core.data.prompt import Prompter
from core.data.read import Dataset, read
from core.errors import UserError
from core.merge import parents, recipe
from core.merge.mixes import Mixes
from core.merge.optimizers import OPTIMIZERS, Point, rounded
from core.merge.parents import Parent
from core.merge.trials import HeldOut, Trials, Tried
from core.models.load import BaseModel, load
from core.results import ALL, SurfacePoint
from core.wording import listed
from core.workspace import Workspace

SMALLEST_GAIN = 1e-5
"""Share of the loss that a step along the gradient must gain, else the search ends."""
STRENGTHS = (1.5, 2.0, 3.0)
"""Sums of the equal weights that are tried between 1/n each and all at 1: how strong a mix is matters most."""


def run(config: SearchConfig, workspace: Workspace) -> dict[str, Any]:
    """Write trials.csv and surface.csv. Returns the best weights, their losses beside the baselines', and the command that bakes them."""
    trials, mixed = prepare(config, workspace)
    for strategy in config.strategy:
        search(trials, strategy)
    tables = {"surface": results.write(workspace.path / "surface.csv", surface(trials), SurfacePoint)} if config.surface else {}
    tables["trials"] = trials.finish()
    return _outputs(trials, mixed) | {name: str(path.relative_to(paths.home())) for name, path in tables.items()}


def prepare(config: SearchConfig, workspace: Workspace) -> tuple[Trials, list[Parent]]:
    """The adapters on their base model, ready to be tried on the validation rows."""
    dataset = read(config)
    mixed = [recipe.parent(*each) for each in parents.find(config.adapters, ())]
    base = load(config.base_model, quantization=config.quantization, precision=config.precision, device=config.device)
    held_out = _held_out(config, dataset, base, workspace)
    trained_on = {parent.name: parent.adapter.info.get("categories", ()) for parent in mixed}
    for note in [*parents.check(mixed), *_notes(config, mixed, base), *dataset.strangers(trained_on)]:
        workspace.say(f"Careful: {note}")
    total = len(config.strategy) * (len(baselines(len(mixed))) + config.trials) + bool(config.surface) * config.grid**2
    return Trials(config, Mixes(base, mixed, held_out.examples), held_out, workspace, total), mixed


def baselines(n: int) -> dict[Point, str]:
    """Mixes of n adapters that every search tries, with their origin in trials.csv."""
    alone = {tuple(float(place == other) for other in range(n)): "alone" for place in range(n)}
    equal = {(strength / n,) * n: "equal" for strength in STRENGTHS}
    return {(0.0,) * n: "base", **alone, (1 / n,) * n: "average", **equal, (1.0,) * n: "sum"} if n > 1 else {(0.0,): "base", **alone}


def search(trials: Trials, strategy: str) -> None:
    """Try the baselines, then what the optimiser asks for, from the best of them on."""
    config = trials.config
    known = baselines(len(config.adapters))
    for origin in dict.fromkeys(known.values()):
        trials.measure(strategy, [point for point in known if known[point] == origin], origin)
    low, high = config.bounds
    start = tuple(min(max(weight, low), high) for weight in trials.best(strategy).weights)
    optimizer = config.optimizer_of(strategy)
    if optimizer == "gradient":
        descend(trials, strategy, start)
    else:
        ask(trials, strategy, start, optimizer)


def descend(trials: Trials, strategy: str, start: Point) -> None:
    """Follow the gradient of the mean loss by the weights (L-BFGS-B: Byrd et al. 1995, SIAM Journal on Scientific Computing 16)."""
    from scipy.optimize import minimize

    config, left = trials.config, trials.config.trials

    def loss(weights: np.ndarray) -> tuple[float, list[float]]:
        nonlocal left
        if not left:
            raise StopIteration
        left -= 1
        return trials.slope(strategy, rounded(weights), "gradient")

    with suppress(StopIteration):
        minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[config.bounds] * len(start), options={"ftol": SMALLEST_GAIN})


def ask(trials: Trials, strategy: str, start: Point, optimizer: str) -> None:
    """Try what an optimiser without gradients asks for."""
    config = trials.config
    [loss] = trials.measure(strategy, [start], optimizer)
    low, high = config.bounds
    asking = OPTIMIZERS[optimizer](start, loss, (low, high), config.seed)
    left, points = config.trials, next(asking) if config.trials else []
    while points:
        losses = trials.measure(strategy, points[:left], optimizer)
        left -= len(losses)
        try:
            points = asking.send(losses) if left else []
        except StopIteration:
            break


def surface(trials: Trials) -> list[SurfacePoint]:
    """The loss on a grid of two adapters' weights over the bounds; the others stay at the best weights found."""
    config, best = trials.config, trials.best()
    one, other = (config.adapters.index(name) for name in config.surface)
    axis = np.linspace(config.bounds[0], config.bounds[1], config.grid)
    points = []
    for first in axis:
        for second in axis:
            weights = list(best.weights)
            weights[one], weights[other] = first, second
            points.append(rounded(weights))
    trials.workspace.say(f"Drawing the surface of {' and '.join(config.surface)}: {len(points)} mixes.")
    trials.measure(best.strategy, points, "surface")
    return [row for point in points for row in _surface_rows(trials, best.strategy, point)]


def bake_command(merge: MergeConfig) -> str:
    """The command line that makes this merge."""
    words = ["python", "-m", "core", "merge"]
    for name, field in MergeConfig.model_fields.items():
        value = getattr(merge, name)
        if value != field.default:
            words.append(f"--{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return shlex.join(words)


def _held_out(config: SearchConfig, dataset: Dataset, base: BaseModel, workspace: Workspace) -> HeldOut:
    """The validation rows, with their tokens. Rows whose answer was cut away are left out."""
    prompter = Prompter(base.tokenizer, config.system_prompt, config.max_seq_length)
    rows = dataset.select("validation", limit=config.limit)
    encoded = prompter.encode_all([(row.question, row.answer, row.category) for row in rows])
    pairs = [(row, example) for row, example in zip(rows, encoded, strict=True) if example.answer]
    if not pairs:
        raise UserError(f"No validation row of {config.data} has an answer to measure on. Add rows, or raise max_seq_length.")
    held_out = HeldOut([row for row, _ in pairs], [example for _, example in pairs])
    for category in dataset.categories:
        if category not in held_out.categories:
            why = dataset.empty_reason(category, "validation") or "max_seq_length leaves nothing of its answers"
            workspace.say(f"Careful: '{category}' has no validation row to measure on ({why}), so it plays no part.")
    for note in prompter.notes():
        workspace.say(note)
    size = f"{len(pairs)} validation rows of {len(held_out.categories)} categories, {int(held_out.tokens.sum()):,} answer tokens"
    workspace.say(f"Each mix is measured on {size}.")
    return held_out


def _notes(config: SearchConfig, mixed: Sequence[Parent], base: BaseModel) -> list[str]:
    """What was otherwise when the adapters were trained."""
    notes = []
    for parent in mixed:
        info = parent.adapter.info
        trained = info.get("config") or {}
        if "system_prompt" in trained and trained["system_prompt"] != config.system_prompt:
            notes.append(f"{parent.name} was trained with system_prompt={trained['system_prompt']!r}, not {config.system_prompt!r}.")
        if info.get("base_hash") and info["base_hash"] != base.content_hash:
            notes.append(f"{parent.name} was made on other weights than those of {base.name}.")
        if info.get("quantization") not in (None, base.quantization):
            notes.append(f"{parent.name} was made with quantization={info['quantization']}, not {base.quantization}.")
    return notes


def _surface_rows(trials: Trials, strategy: str, point: Point) -> list[SurfacePoint]:
    config, tried = trials.config, trials.tried[strategy, point]
    one, other = config.surface
    x, y = (tried.weights[config.adapters.index(name)] for name in config.surface)
    losses = zip(trials.held_out.categories, map(float, tried.by_category), strict=True)
    return [SurfacePoint(one, other, x, y, strategy, category, loss) for category, loss in [(ALL, tried.mean), *losses]]


def _outputs(trials: Trials, mixed: Sequence[Parent]) -> dict[str, Any]:
    config, best = trials.config, trials.best()
    average = trials.tried[best.strategy, (1 / len(mixed),) * len(mixed)]
    gain = trials.gain(best, average)
    command = bake_command(config.mix(best.strategy, best.weights).model_copy(update={"name": f"tuned-{best.strategy}"}))
    trials.workspace.say(_wording(trials, best, gain))
    trials.workspace.say(f"To bake it: {command}")
    return {
        "strategy": best.strategy,
        "weights": dict(zip(config.adapters, best.weights, strict=True)),
        "mean": best.mean,
        "worst": best.worst,
        "by_category": dict(zip(trials.held_out.categories, map(float, best.by_category), strict=True)),
        "baselines": _baseline_losses(trials, best.strategy, mixed),
        "gain_over_average": gain,
        "mixes": len(trials.tried),
        "command": command,
    }


def _baseline_losses(trials: Trials, strategy: str, mixed: Sequence[Parent]) -> dict[str, float]:
    """The mean loss of each baseline; `own`: every category under the adapter that was trained on it alone, where each has one."""
    found = {}
    for point, origin in baselines(len(mixed)).items():
        named = mixed[point.index(1.0)].name if origin == "alone" else f"{point[0]:.4g} each" if origin == "equal" else origin
        found[named] = trials.tried[strategy, point].mean
    owners = {tuple(parent.adapter.info.get("categories", ())): place for place, parent in enumerate(mixed)}
    categories = trials.held_out.categories
    if all((category,) in owners for category in categories) and trials.config.mix(strategy, ()).is_weighted_sum:
        alone = [point for point, origin in baselines(len(mixed)).items() if origin == "alone"]
        losses = [trials.tried[strategy, alone[owners[category,]]].by_category[place] for place, category in enumerate(categories)]
        found["own"] = float(np.mean(losses))
    return found


def _wording(trials: Trials, best: Tried, gain: dict[str, float | None]) -> str:
    config = trials.config
    weights = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(config.adapters, best.weights, strict=True))
    edge = [name for name, weight in zip(config.adapters, best.weights, strict=True) if weight in config.bounds]
    return (
        f"Lowest {config.objective} loss: {trials.objective(best):.4f} with {best.strategy} of {weights}; {gain['value']:.4f} below equal "
        f"weights of 1/n ({_interval(gain)}, on the validation rows that it was tuned on)."
        + (f" {listed(edge)} stopped at the edge of bounds; wider ones may do better." if edge else "")
    )


def _interval(gain: dict[str, float | None]) -> str:
    low, high = gain["low"], gain["high"]
    if low is None or high is None:
        return "no interval: every category has a single row"
    return f"95 % interval {low:.4f} to {high:.4f}" + ("" if low > 0 else "; no difference can be told from these rows")
