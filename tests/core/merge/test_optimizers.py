"""Optimisers of mixing weights: against brute force over grids and random weights, and finite differences."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from core import runs
from core.errors import UserError
from core.merge import search
from core.merge.optimizers import coordinate, rounded
from core.results import ALL
from core.workspace import Workspace

LOW, HIGH = -0.5, 1.0


def test_the_gradient_is_that_of_finite_differences(config, mean_losses):
    settings = config()
    trials, _ = search.prepare(settings, Workspace(runs.create("search", {})))
    start, step = (0.3, 0.1, 0.2), 1e-2
    loss, slope = trials.slope("linear", start, "gradient")
    assert loss == pytest.approx(float(mean_losses(settings, [start])[0]), rel=1e-5)
    moved = [tuple(start[i] + way * step * (i == place) for i in range(3)) for place in range(3) for way in (1, -1)]
    losses = mean_losses(settings, moved).reshape(3, 2)
    assert slope == pytest.approx(((losses[:, 0] - losses[:, 1]) / (2 * step)).tolist(), rel=0.02, abs=2e-4)


def test_the_gradient_gets_as_low_as_cma_with_a_third_of_its_mixes(config, searched):
    cma = searched(config(trials=90, limit=4, optimizer="cma"))
    gradient = searched(config(trials=30, limit=4))
    assert set(gradient.table["origin"]) >= {"gradient"} and "cma" not in set(gradient.table["origin"])
    assert gradient.outputs["mean"] <= cma.outputs["mean"] + 1e-4
    assert gradient.weights()[8:].min() >= LOW and gradient.weights()[8:].max() <= HIGH
    assert len(searched(config(trials=3, limit=4)).weights()) == 8 + 3


def test_the_gradient_is_refused_where_there_is_none(config):
    for fields in ({"objective": "worst"}, {"strategy": ("svd",)}, {"rank": 2}):
        with pytest.raises(UserError, match="optimizer=gradient needs the mean loss of an exact weighted sum"):
            config(optimizer="gradient", **fields)
        assert config(**fields).optimizer_of(config(**fields).strategy[0]) == "cma"


def test_coordinate_search_finds_the_lowest_point_of_the_grid(config, parts, searched, mean_losses):
    settings = config(adapters=parts[:2], optimizer="coordinate", trials=200, bounds=(LOW, 2), limit=4)
    axis = np.linspace(LOW, 2, 11)
    grid = [(float(x), float(y)) for x in axis for y in axis]
    losses = mean_losses(settings, grid)
    lowest = grid[int(losses.argmin())]
    assert min(lowest) > LOW and max(lowest) < 2, "the optimum should lie inside"
    found = searched(settings)
    assert found.outputs["mean"] <= losses.min()
    assert np.abs(np.array(found.best) - lowest).max() <= axis[1] - axis[0]
    assert found.outputs["mixes"] < 100


def test_cma_gets_as_low_as_the_best_of_200_random_weights(config, searched, mean_losses):
    settings = config(trials=100, limit=4, optimizer="cma")
    random = np.random.default_rng(0).uniform(LOW, HIGH, (200, 3))
    found = searched(settings)
    assert found.outputs["mean"] <= mean_losses(settings, [tuple(map(float, point)) for point in random]).min()
    assert found.outputs["mixes"] <= 8 + 100
    tried = found.weights()[8:]
    assert tried.min() >= LOW and tried.max() <= HIGH
    assert [rounded(point) for point in tried] == [tuple(point) for point in tried]
    assert found.outputs["mean"] == found.figures("loss", ALL).min() < found.outputs["baselines"]["average"]


def test_the_worst_category_can_be_what_is_made_small(config, searched):
    mean, worst = (searched(config(trials=60, objective=objective, limit=2)) for objective in ("mean", "worst"))
    assert worst.outputs["worst"] == worst.figures("worst").min() < mean.outputs["worst"]
    assert mean.outputs["mean"] < worst.outputs["mean"]


def test_one_adapter_has_its_strength_searched(config, parts, searched, mean_losses):
    found = searched(config(adapters=parts[:1], optimizer="coordinate", trials=40))
    assert list(found.table.drop_duplicates("trial")["origin"])[:2] == ["base", "alone"]
    strengths = [(float(weight),) for weight in np.linspace(LOW, HIGH, 61)]
    losses = mean_losses(config(adapters=parts[:1]), strengths)
    assert found.outputs["mean"] <= losses.min() + 1e-4 and found.best[0] == pytest.approx(strengths[int(losses.argmin())][0], abs=0.05)
    with pytest.raises(UserError, match="CMA-ES needs at least two weights"):
        searched(config(adapters=parts[:1], trials=5, optimizer="cma"))


def _walked(loss: Callable[[tuple[float, ...]], float], start: tuple[float, ...]) -> Iterator[tuple[float, ...]]:
    asking = coordinate(start, loss(start), (-1.0, 1.0), 0)
    points = next(asking)
    try:
        while True:
            yield from points
            points = asking.send([loss(point) for point in points])
    except StopIteration:
        return


def test_coordinate_steps_stay_within_the_bounds_and_reach_a_corner():
    points = list(_walked(lambda point: -sum(point), (0.0, 0.0)))
    assert (1.0, 1.0) in points and all(-1 <= weight <= 1 for point in points for weight in point)
