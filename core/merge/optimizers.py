"""Ways to look for weights: generators that yield points to try and are sent their losses, so trying stays with the caller."""

from collections.abc import Callable, Generator, Iterable

import numpy as np

from core.errors import UserError

Point = tuple[float, ...]
Asking = Generator[list[Point], list[float], None]
"""Yields points, [K] each; is sent one loss per point; ends when there is nothing left to try."""

DIGITS = 4
"""Decimals of a weight: what is tried is what the command line says."""
FIRST_STEP, LAST_STEP = 1 / 8, 1 / 128
"""Steps of the coordinate search, as shares of the range between the bounds."""
SPREAD = 1 / 20
"""Standard deviation of the first CMA-ES generation, as a share of the range."""


def cma_es(start: Point, loss: float, bounds: tuple[float, float], seed: int) -> Asking:
    """CMA-ES (Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772), by the library `cma`."""
    if len(start) < 2:
        raise UserError("CMA-ES needs at least two weights, and there is one adapter. Say optimizer=coordinate.")
    import cma  # type: ignore[import-untyped] # takes a second

    random = np.random.default_rng(seed)
    low, high = bounds
    options = {
        "bounds": [low, high],
        "randn": lambda *shape: random.standard_normal(shape),
        "seed": np.nan,  # leaves numpy's own generator alone
        "verbose": -9,
    }
    strategy = cma.CMAEvolutionStrategy(list(start), SPREAD * (high - low), options)
    while not strategy.stop():
        asked = strategy.ask()
        losses = yield [rounded(point) for point in asked]
        strategy.tell(asked, losses)


def coordinate(start: Point, loss: float, bounds: tuple[float, float], seed: int) -> Asking:
    """All weights together, then one at a time: a step up and a step down; when nothing gains, the step is halved (compass search).

    Kolda, Lewis and Torczon 2003, Optimization by Direct Search, SIAM Review 45.
    """
    step, last = (share * (bounds[1] - bounds[0]) for share in (FIRST_STEP, LAST_STEP))
    one_each = np.eye(len(start))
    directions = [np.ones(len(start)), *one_each] if len(start) > 1 else [*one_each]
    best, lowest = start, loss
    while step >= last:
        before = lowest
        for direction in directions:
            moved = [rounded(np.clip(np.array(best) + way * step * direction, *bounds)) for way in (1, -1)]
            points = [point for point in moved if point != best]
            losses = yield points
            if min(losses) < lowest:
                lowest = min(losses)
                best = points[losses.index(lowest)]
        if lowest == before:
            step /= 2


OPTIMIZERS: dict[str, Callable[[Point, float, tuple[float, float], int], Asking]] = {"cma": cma_es, "coordinate": coordinate}
"""(start within the bounds, its loss, bounds, seed) -> points to try."""


def rounded(point: Iterable[float]) -> Point:
    """Weights as they are tried and written down."""
    return tuple(round(float(weight), DIGITS) + 0.0 for weight in point)
