"""Weights found on validation loss: against plain transformers, brute force over grids and random weights, and killed runs."""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from core import adapter, paths, results, runs
from core.config import MergeConfig, SearchConfig, TrainConfig
from core.data.prompt import Prompter
from core.data.read import QA, read
from core.errors import UserError
from core.jobs.arguments import config_values, parse
from core.merge import search
from core.merge.mixes import Mixes
from core.merge.optimizers import coordinate, rounded
from core.merge.run import run as merge
from core.models.load import load, load_tokenizer
from core.results import ALL, SurfacePoint, Trial
from core.runs import Workspace
from core.train.run import run as train

LOW, HIGH = -0.5, 1.0
VOICE = "Answer in the voice of this school: {category}."


class Searched:
    """A search that has been run, or was killed."""

    def __init__(self, config: SearchConfig, workspace: Workspace | None = None) -> None:
        self.workspace = workspace or Workspace(runs.create("search", config.model_dump(mode="json")))
        self.outputs = search.run(config, self.workspace)
        self.table = results.read(self.workspace.path / "trials.csv", Trial)
        self.said = "\n".join(event["message"] for event in runs.read_events(self.workspace.run.run_id, "say"))
        self.best = tuple(self.outputs["weights"].values())

    def figures(self, figure: str, name: str | None = None) -> pd.Series:
        found = self.table[self.table["figure"] == figure]
        return found[found["name"] == name].set_index("trial")["value"] if name else found.set_index("trial")["value"]

    def weights(self) -> np.ndarray:
        return self.table[self.table["figure"] == "weight"].pivot(index="trial", columns="name", values="value").to_numpy()


@pytest.fixture(scope="module")
def parts(tiny_base, tiny_data, tmp_path_factory) -> list[str]:
    """Three trained adapters: their mixes have a smooth loss with its lowest point inside the bounds."""
    fields = {"data": str(tiny_data), "base_model": str(tiny_base), "system_prompt": VOICE, "target_modules": "all-linear", "device": "cpu"}
    config = TrainConfig(**fields, r=4, learning_rate=1e-2, max_steps=20, keep="last")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCEUM_HOME", str(tmp_path_factory.mktemp("trained")))
        train(config, Workspace(runs.create("train", {})))
        return [str(paths.adapters() / f"{category}-lora") for category in ("cynic", "lexicon", "hacker")]


@pytest.fixture
def config(tiny_base, tiny_data, parts) -> Callable[..., SearchConfig]:
    def make(**fields: Any) -> SearchConfig:
        common = {"data": str(tiny_data), "base_model": str(tiny_base), "system_prompt": VOICE, "device": "cpu", "limit": None}
        return SearchConfig(**{**common, "adapters": parts, "bounds": (LOW, HIGH), "trials": 0, **fields})

    return make


@pytest.fixture
def rows(tiny_data, config) -> list[QA]:
    return read(config()).select("validation")


@torch.no_grad()
def plain_losses(base: Path, folders: list[str], weights: tuple[float, ...], rows: list[QA]) -> dict[str, float]:
    """Nats per answer token of each category: the deltas added to the weights of plain transformers, row by row, without a bank."""
    model = AutoModelForCausalLM.from_pretrained(base)
    for folder, weight in zip(folders, weights, strict=True):
        for layer, factor in adapter.read(Path(folder)).factors.items():
            model.get_submodule(layer).weight += weight * factor.scale * factor.B @ factor.A
    prompter, sums, tokens = Prompter(load_tokenizer(str(base)), VOICE), {}, {}
    for row in rows:
        encoded = prompter.encode(row.question, row.answer, row.category)
        logits = model(torch.tensor([encoded.prompt + encoded.answer])).logits[0, len(encoded.prompt) - 1 : -1]
        sums[row.category] = sums.get(row.category, 0.0) + float(F.cross_entropy(logits, torch.tensor(encoded.answer), reduction="sum"))
        tokens[row.category] = tokens.get(row.category, 0) + len(encoded.answer)
    return {category: sums[category] / tokens[category] for category in sums}


def mean_losses(config: SearchConfig, points: list[tuple[float, ...]]) -> np.ndarray:
    """The mean over categories at each point, [points], straight from the rows' losses."""
    rows = read(config).select("validation")
    base = load(config.base_model, device="cpu")
    encoded = Prompter(base.tokenizer, config.system_prompt).encode_all([(row.question, row.answer, row.category) for row in rows])
    found = search.parents.find(config.adapters, ())
    losses = np.array(
        Mixes(base, [search.recipe.parent(*each) for each in found], encoded).losses([config.mix("linear", p) for p in points])
    )
    tokens, categories = np.array([len(each.answer) for each in encoded]), np.array([row.category for row in rows])
    own = [losses[:, categories == each].sum(1) / tokens[categories == each].sum() for each in dict.fromkeys(categories)]
    return np.mean(own, axis=0)


def test_baselines_and_their_losses_are_those_of_plain_transformers(tiny_base, parts, config, rows):
    found = Searched(config())
    origins = found.table.drop_duplicates("trial")["origin"]
    assert list(origins) == ["base", "alone", "alone", "alone", "average", "equal", "equal", "sum"]
    points = found.table[found.table["figure"] == "weight"].pivot(index="trial", columns="name", values="value")[parts].to_numpy()
    assert points.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1 / 3] * 3, [0.5] * 3, [2 / 3] * 3, [1, 1, 1]]
    for trial, weights in enumerate(points):
        expected = plain_losses(tiny_base, parts, tuple(weights), rows)
        for category, loss in expected.items():
            assert found.figures("loss", category)[trial] == pytest.approx(loss, rel=1e-5)
        assert found.figures("loss", ALL)[trial] == pytest.approx(np.mean(list(expected.values())), rel=1e-5)
        assert found.figures("worst")[trial] == pytest.approx(max(expected.values()), rel=1e-5)
    own = [found.figures("loss", name)[trial] for trial, name in ((1, "cynic"), (2, "lexicon"), (3, "hacker"))]
    baselines = found.outputs["baselines"]
    assert baselines["own"] == pytest.approx(np.mean(own)) and baselines["average"] == pytest.approx(found.figures("loss", ALL)[4])
    assert baselines[parts[1]] == pytest.approx(found.figures("loss", ALL)[2])
    assert baselines["0.6667 each"] == pytest.approx(found.figures("loss", ALL)[6])


def test_coordinate_search_finds_the_lowest_point_of_the_grid(config, parts):
    settings = config(adapters=parts[:2], optimizer="coordinate", trials=200, bounds=(LOW, 2), limit=4)
    axis = np.linspace(LOW, 2, 11)
    grid = [(float(x), float(y)) for x in axis for y in axis]
    losses = mean_losses(settings, grid)
    lowest = grid[int(losses.argmin())]
    assert min(lowest) > LOW and max(lowest) < 2, "the optimum should lie inside"
    found = Searched(settings)
    assert found.outputs["mean"] <= losses.min()
    assert np.abs(np.array(found.best) - lowest).max() <= axis[1] - axis[0]
    assert found.outputs["mixes"] < 100


def test_cma_gets_as_low_as_the_best_of_200_random_weights(config):
    settings = config(trials=100, limit=4)
    random = np.random.default_rng(0).uniform(LOW, HIGH, (200, 3))
    found = Searched(settings)
    assert found.outputs["mean"] <= mean_losses(settings, [tuple(map(float, point)) for point in random]).min()
    assert found.outputs["mixes"] <= 8 + 100
    tried = found.weights()[8:]
    assert tried.min() >= LOW and tried.max() <= HIGH
    assert [rounded(point) for point in tried] == [tuple(point) for point in tried]
    assert found.outputs["mean"] == found.figures("loss", ALL).min() < found.outputs["baselines"]["average"]


def test_the_worst_category_can_be_what_is_made_small(config):
    mean, worst = (Searched(config(trials=60, objective=objective, limit=2)) for objective in ("mean", "worst"))
    assert worst.outputs["worst"] == worst.figures("worst").min() < mean.outputs["worst"]
    assert mean.outputs["mean"] < worst.outputs["mean"]


def test_the_pareto_front_is_what_nothing_beats_in_both(config):
    found = Searched(config(trials=40))
    mean, worst, marked = found.figures("loss", ALL), found.figures("worst"), found.figures("pareto")
    for trial in mean.index:
        beaten = ((mean <= mean[trial]) & (worst <= worst[trial]) & ((mean < mean[trial]) | (worst < worst[trial]))).any()
        assert marked[trial] == (0 if beaten else 1)
    assert marked[mean.idxmin()] == marked[worst.idxmin()] == 1 and 0 < marked.sum() < len(marked)


def test_test_rows_are_never_tokenised_and_change_nothing(config, tiny_data, tmp_path, monkeypatch):
    held_out = {(row.question, row.answer) for row in read(config()).rows if row.split != "validation"}
    plain = Searched(config(trials=10))
    poisoned = tmp_path / "poisoned.jsonl"
    lines = [json.loads(line) for line in tiny_data.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if (line["question"], line["answer"]) in held_out:
            line["answer"] = "POISON"
    poisoned.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    questions, ids = {question for question, _ in held_out}, Prompter._ids

    def guarded(self: Prompter, texts: list[str]) -> list[list[int]]:
        assert not any("POISON" in text or any(question in text for question in questions) for text in texts), (
            "a row that is not validation"
        )
        return ids(self, texts)

    monkeypatch.setattr(Prompter, "_ids", guarded)
    found = Searched(config(trials=10, data=str(poisoned)))
    assert found.table.equals(plain.table) and "POISON" in poisoned.read_text() and len(held_out) > 50


def test_a_killed_search_goes_on_where_it_was(config, monkeypatch):
    settings = config(trials=30)
    whole = Searched(settings)
    measured: list[int] = []
    losses = Mixes.losses

    def counted(self: Mixes, merges: Any, *rest: Any) -> Any:
        measured.append(len(merges))
        if sum(measured) > 20 and limit:
            raise KeyboardInterrupt
        return losses(self, merges, *rest)

    monkeypatch.setattr(Mixes, "losses", counted)
    limit, workspace = True, Workspace(runs.create("search", settings.model_dump(mode="json")))
    with pytest.raises(KeyboardInterrupt):
        Searched(settings, workspace)
    kept = len((workspace.scratch / "trials.jsonl").read_text().splitlines()) - 1
    assert 10 < kept <= 20
    (workspace.scratch / "trials.jsonl").open("a").write('["linear", [0.1, 0')  # torn by the kill
    limit = False
    measured.clear()
    resumed = Searched(settings, workspace)
    assert resumed.table.equals(whole.table) and resumed.outputs["weights"] == whole.outputs["weights"]
    assert sum(measured) == whole.outputs["mixes"] - kept and f"Resumed with {kept} mixes" in resumed.said


def test_a_search_is_not_resumed_on_other_data(config, tiny_data, tmp_path):
    workspace = Workspace(runs.create("search", {}))
    Searched(config(), workspace)
    lines = tiny_data.read_text(encoding="utf-8").splitlines(keepends=True)
    (changed := tmp_path / "changed.jsonl").write_text("".join(lines).replace(".", "!"), encoding="utf-8")
    with pytest.raises(UserError, match="The data, the adapters or the base model have changed since this search began"):
        Searched(config(data=str(changed)), workspace)


def test_the_same_seed_tries_the_same_mixes(config):
    one, same, other = (Searched(config(trials=15, seed=seed)) for seed in (1, 1, 2))
    assert one.table.equals(same.table) and not one.table.equals(other.table)


def test_other_strategies_are_measured_as_their_merges(tiny_base, config, parts, rows):
    found = Searched(config(strategy="linear,ties", density=0.5, trials=3))
    assert set(found.table["strategy"]) == {"linear", "ties"} and found.table["trial"].nunique() == 2 * (8 + 3)
    ties = found.table[found.table["strategy"] == "ties"]
    for origin in ("average", "cma"):
        trial = ties[ties["origin"] == origin]["trial"].max()
        weights = found.table[(found.table["trial"] == trial) & (found.table["figure"] == "weight")].set_index("name")["value"][parts]
        made = MergeConfig(adapters=parts, weights=tuple(weights), strategy="ties", density=0.5, name="ties", replace=True)
        merge(made, Workspace(runs.create("merge", {})))
        expected = plain_losses(tiny_base, [str(paths.merged_adapters() / "ties")], (1.0,), rows)
        assert found.figures("loss", ALL)[trial] == pytest.approx(np.mean(list(expected.values())), rel=1e-4)
    assert found.figures("loss", ALL)[ties["trial"].min()] == found.figures("loss", ALL)[0], "without a weight it is the base model"


def test_the_command_bakes_the_best_mix(tiny_base, config, rows):
    found = Searched(config(trials=20))
    words = shlex.split(found.outputs["command"])
    assert words[:4] == ["python", "-m", "core", "merge"]
    made = MergeConfig(**config_values(parse(words[3:])))
    assert made.weights == found.best and made.strategy == "linear" and made.name == "tuned-linear"
    folder = paths.home() / merge(made, Workspace(runs.create("merge", {})))["adapter"]
    expected = plain_losses(tiny_base, [str(folder)], (1.0,), rows)
    assert np.mean(list(expected.values())) == pytest.approx(found.outputs["mean"], rel=1e-5)
    assert found.outputs["by_category"] == pytest.approx(expected, rel=1e-5)


def test_the_surface_is_drawn_around_the_best_weights(config, parts):
    settings = config(trials=10, surface=parts[1:], grid=4)
    found = Searched(settings)
    table = results.read(found.workspace.path / "surface.csv", SurfacePoint)
    means = table[table["category"] == ALL]
    axis = [-0.5, 0.0, 0.5, 1.0]
    assert sorted(set(zip(means["one_weight"], means["other_weight"], strict=True))) == [(x, y) for x in axis for y in axis]
    assert len(table) == 16 * 4 and set(zip(table["one"], table["other"], strict=True)) == {tuple(parts[1:])}
    before = Searched(config(trials=10))
    points = [(before.best[0], x, y) for x, y in zip(means["one_weight"], means["other_weight"], strict=True)]
    assert means["loss"].to_numpy() == pytest.approx(mean_losses(settings, points), rel=1e-6)
    assert found.outputs["mean"] == min(before.outputs["mean"], means["loss"].min())
    assert set(found.table["origin"]) >= {"surface", "cma", "average"}


def test_the_interval_is_a_bootstrap_over_questions(config, rows, tiny_base):
    found = Searched(config(trials=40, seed=5))
    gain = found.outputs["gain_over_average"]
    assert gain["value"] == pytest.approx(found.outputs["baselines"]["average"] - found.outputs["mean"])
    assert gain["low"] < gain["value"] < gain["high"] and gain["questions"] == len(rows)
    kept = [json.loads(line) for line in (found.workspace.scratch / "trials.jsonl").read_text().splitlines()[1:]]
    losses = {tuple(weights): np.array(each) for _, weights, each in kept}
    ours, theirs = losses[found.best], losses[(1 / 3,) * 3]
    prompter = Prompter(load_tokenizer(str(tiny_base)), VOICE)
    tokens = np.array([len(prompter.encode(row.question, row.answer, row.category).answer) for row in rows])
    places = [np.array([i for i, row in enumerate(rows) if row.category == name]) for name in dict.fromkeys(row.category for row in rows)]
    random, gains = np.random.default_rng(11), []
    for _ in range(4000):
        chosen = [random.choice(own, len(own)) for own in places]
        gains.append(np.mean([(theirs[c] - ours[c]).sum() / tokens[c].sum() for c in chosen]))
    low, high = np.quantile(gains, [0.025, 0.975])
    assert (gain["low"], gain["high"]) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_a_single_row_in_a_category_gives_no_interval(config):
    found = Searched(config(trials=2, limit=1))
    gain = found.outputs["gain_over_average"]
    assert gain["low"] is None and gain["high"] is None and "no interval: every category has a single row" in found.said
    assert f"To bake it: {found.outputs['command']}" in found.said


def test_weights_at_the_edge_of_the_bounds_are_named(config, parts):
    trials = SimpleNamespace(config=config(adapters=("a", "b"), bounds=(-0.5, 1.5)), objective=lambda tried: tried.mean)
    best = SimpleNamespace(strategy="linear", weights=(1.5, 0.2), mean=2.0)
    said = search._wording(trials, best, {"value": 0.1, "low": 0.05, "high": 0.2})
    assert "linear of a 1.5, b 0.2; 0.1000 below equal weights of 1/n (95 % interval 0.0500 to 0.2000" in said
    assert said.endswith("a stopped at the edge of bounds; wider ones may do better.")


def test_progress_is_told_and_ends_at_the_whole(config, parts):
    found = Searched(config(trials=12, surface=parts[:2], grid=3))
    events = runs.read_events(found.workspace.run.run_id, "progress")
    done = [event["done"] for event in events]
    assert done == sorted(done) and done[-1] == events[-1]["total"] == 8 + 12 + 9
    assert events[-1]["unit"] == "mixes" and f"lowest mean {found.outputs['mean']:.4f}" in events[-1]["message"]


def test_one_adapter_has_its_strength_searched(config, parts):
    found = Searched(config(adapters=parts[:1], optimizer="coordinate", trials=40))
    assert list(found.table.drop_duplicates("trial")["origin"])[:2] == ["base", "alone"]
    strengths = [(float(weight),) for weight in np.linspace(LOW, HIGH, 61)]
    losses = mean_losses(config(adapters=parts[:1]), strengths)
    assert found.outputs["mean"] <= losses.min() + 1e-4 and found.best[0] == pytest.approx(strengths[int(losses.argmin())][0], abs=0.05)
    with pytest.raises(UserError, match="CMA-ES needs at least two weights"):
        Searched(config(adapters=parts[:1], trials=5))


def test_what_differs_from_training_is_said(config, parts):
    assert "system_prompt=" not in Searched(config()).said
    assert f"{parts[0]} was trained with system_prompt={VOICE!r}, not None." in Searched(config(system_prompt=None)).said


def test_categories_without_validation_rows_are_said_and_none_at_all_refused(config, tiny_data, tmp_path):
    rows = read(config()).rows
    keep = [row for row in rows if row.split == "train" or (row.split == "validation" and row.category == "cynic")]
    for name, kept in (("some", keep), ("none", [row for row in keep if row.split == "train"])):
        lines = [json.dumps({"question": row.question, "answer": row.answer, "category": row.category}) + "\n" for row in kept]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    found = Searched(config(data=str(tmp_path / "some.jsonl")))
    assert "'hacker' has no validation row" in found.said and set(found.figures("loss").index) == set(range(8))
    assert set(found.table[found.table["figure"] == "loss"]["name"]) == {"cynic", ALL}
    with pytest.raises(UserError, match="No validation row of .* has an answer to measure on"):
        Searched(config(data=str(tmp_path / "none.jsonl")))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"bounds": (1, 0)}, "bounds=1,0 is no lowest and highest weight"),
        ({"bounds": (1,)}, "bounds=1 is no lowest and highest weight"),
        ({"surface": "a"}, "surface=a should name two of the adapters"),
        ({"surface": "a,a"}, "surface=a,a should name two of the adapters"),
        ({"surface": "a,z"}, "surface=a,z should name two of the adapters that are mixed: a, b"),
        ({"strategy": "tiez"}, "Unknown merge strategy 'tiez'"),
        ({"strategy": "linear,ties"}, "density was not given"),
        ({"density": 0.5}, "Strategy linear keeps every entry"),
        ({"adapters": ()}, "No adapters were given"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_a_sentence(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        SearchConfig(**{"adapters": ("a", "b"), **fields})


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
