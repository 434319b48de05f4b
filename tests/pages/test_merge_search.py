"""What a search found, on the Merge page: the front, the table, the surface, and its mix in the console."""

from pathlib import Path

import pandas as pd
import pytest

from core import paths, results, runs
from core.results import ALL, SurfacePoint, Trial
from pages import merge_search
from tests.pages import sample
from tests.pages.conftest import Open
from tests.pages.test_pages import words

NAMES = ("cynic-lora", "kural-lora")
MIXES = [("base", (0.0, 0.0), 4.0, 5.0), ("average", (0.5, 0.5), 3.5, 4.5), ("cma", (0.9, 0.1), 3.2, 4.8), ("cma", (0.25, 0.75), 3.3, 4.1)]


def trials() -> list[Trial]:
    """Four mixes of two adapters; the last two are the front."""
    rows = []
    for number, (origin, weights, mean, worst) in enumerate(MIXES):
        key = (number, "linear", origin)
        rows += [Trial(*key, "weight", name, weight) for name, weight in zip(NAMES, weights, strict=True)]
        rows += [Trial(*key, "loss", ALL, mean), Trial(*key, "loss", "kural", worst), Trial(*key, "worst", "kural", worst)]
        rows.append(Trial(*key, "pareto", "", float(number > 1)))
    return rows


@pytest.fixture
def searched(home: Path) -> runs.Run:
    """A finished search over two adapters."""
    sample.train()
    run = runs.create("search", {"adapters": list(NAMES), "strategy": ["linear"], "surface": list(NAMES)})
    results.write(run.path / "trials.csv", trials(), Trial)
    grid = [(a / 2, b / 2) for a in range(3) for b in range(3)]
    points = [SurfacePoint(*NAMES, a, b, "linear", category, 3 + (a - 0.5) ** 2 + b) for a, b in grid for category in (ALL, "kural")]
    results.write(run.path / "surface.csv", points, SurfacePoint)
    outputs = {"gain_over_average": {"value": 0.3, "low": -0.1, "high": 0.5}}
    return runs.update(run.run_id, status="done", started_at=runs.now(), finished_at=runs.now(), outputs=outputs)


def test_trials_become_a_row_per_mix() -> None:
    table = merge_search.wide(pd.DataFrame(trials()))
    assert list(table["mean"]) == [4.0, 3.5, 3.2, 3.3] and list(table["pareto"]) == [False, False, True, True]
    assert list(table["weights"]) == ["all weights 0", "cynic-lora 0.50, kural-lora 0.50", "cynic-lora 0.90, kural-lora 0.10"] + [
        "cynic-lora 0.25, kural-lora 0.75"
    ]
    assert set(table["worst_category"]) == {"kural"}


def test_the_best_mix_is_told_and_played_in_the_console(searched: runs.Run, open_page: Open) -> None:
    at = open_page("merge")
    assert not at.exception
    said = words(at)
    assert "4 mixes tried on validation rows. Lowest mean loss: 3.20 nats per answer token" in said
    assert "0.300 below 1/n each (95 % interval -0.100 to 0.500, on the rows it was tuned on). No difference can be told" in said
    assert "Lowest here: 3.00 at cynic-lora 0.50 and kural-lora 0.00" in said
    pictures = {each.proto.id.rpartition("-")[2] for each in at.get("plotly_chart")}
    assert {"pareto", "surface"} <= pictures
    at.button(key="search.play").click().run()
    assert not at.exception
    assert at.multiselect(key="merge.adapters").value == list(NAMES)
    assert [slider.value for slider in at.slider] == [0.9, 0.1]
    assert at.query_params["weights"] == "0.9,0.1"


def test_a_search_is_submitted_with_the_prompt_that_the_adapters_know(home: Path, open_page: Open) -> None:
    sample.train()
    known = {"role": "own", "categories": ["cynic"], "config": {"system_prompt": "Speak as {category}."}}
    sample.folder(paths.adapters() / NAMES[0], known)
    at = open_page("merge")
    at.multiselect(key="search.adapters").set_value(list(NAMES)).run()
    at.number_input(key="search.trials").set_value(5)
    at.button(key="search.submit").click().run()
    config = runs.listing("search")[0].config
    assert (config["adapters"], config["trials"], config["strategy"]) == (list(NAMES), 5, ["linear"])
    assert config["system_prompt"] == "Speak as {category}."
