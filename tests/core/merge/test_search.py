"""Weights found on validation loss: against plain transformers, brute force over grids and random weights, and killed runs."""

import json
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from core import adapter, paths, results, runs
from core.config import MergeConfig, SearchConfig
from core.data.prompt import Prompter
from core.data.read import QA, read
from core.errors import UserError
from core.jobs.arguments import config_values, parse
from core.merge import search
from core.merge.mixes import Mixes
from core.merge.run import run as merge
from core.models.load import load_tokenizer
from core.results import ALL, SurfacePoint
from core.workspace import Workspace

VOICE = "Answer in the voice of this school: {category}."


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


def test_baselines_and_their_losses_are_those_of_plain_transformers(tiny_base, parts, config, rows, searched):
    found = searched(config())
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


def test_the_pareto_front_is_what_nothing_beats_in_both(config, searched):
    found = searched(config(trials=40))
    mean, worst, marked = found.figures("loss", ALL), found.figures("worst"), found.figures("pareto")
    for trial in mean.index:
        beaten = ((mean <= mean[trial]) & (worst <= worst[trial]) & ((mean < mean[trial]) | (worst < worst[trial]))).any()
        assert marked[trial] == (0 if beaten else 1)
    assert marked[mean.idxmin()] == marked[worst.idxmin()] == 1 and 0 < marked.sum() < len(marked)


def test_test_rows_are_never_tokenised_and_change_nothing(config, tiny_data, tmp_path, monkeypatch, searched):
    held_out = {(row.question, row.answer) for row in read(config()).rows if row.split != "validation"}
    plain = searched(config(trials=10))
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
    found = searched(config(trials=10, data=str(poisoned)))
    assert found.table.equals(plain.table) and "POISON" in poisoned.read_text() and len(held_out) > 50


def test_a_killed_search_goes_on_where_it_was(config, monkeypatch, searched):
    settings = config(trials=30, optimizer="cma")
    whole = searched(settings)
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
        searched(settings, workspace)
    kept = len((workspace.scratch / "trials.jsonl").read_text().splitlines()) - 1
    assert 10 < kept <= 20
    (workspace.scratch / "trials.jsonl").open("a").write('["linear", [0.1, 0')  # torn by the kill
    limit = False
    measured.clear()
    resumed = searched(settings, workspace)
    assert resumed.table.equals(whole.table) and resumed.outputs["weights"] == whole.outputs["weights"]
    assert sum(measured) == whole.outputs["mixes"] - kept and f"Resumed with {kept} mixes" in resumed.said


def test_a_search_is_not_resumed_on_other_data(config, tiny_data, tmp_path, searched):
    workspace = Workspace(runs.create("search", {}))
    searched(config(), workspace)
    lines = tiny_data.read_text(encoding="utf-8").splitlines(keepends=True)
    (changed := tmp_path / "changed.jsonl").write_text("".join(lines).replace(".", "!"), encoding="utf-8")
    with pytest.raises(UserError, match="The data, the adapters or the base model have changed since this search began"):
        searched(config(data=str(changed)), workspace)


def test_the_same_seed_tries_the_same_mixes(config, searched):
    one, same, other = (searched(config(trials=15, seed=seed, optimizer="cma")) for seed in (1, 1, 2))
    assert one.table.equals(same.table) and not one.table.equals(other.table)


def test_other_strategies_are_measured_as_their_merges(tiny_base, config, parts, rows, searched):
    found = searched(config(strategy="linear,ties", density=0.5, trials=3))
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


def test_the_command_bakes_the_best_mix(tiny_base, config, rows, searched):
    found = searched(config(trials=20))
    words = shlex.split(found.outputs["command"])
    assert words[:4] == ["python", "-m", "core", "merge"]
    made = MergeConfig(**config_values(parse(words[3:])))
    assert made.weights == found.best and made.strategy == "linear" and made.name == "tuned-linear"
    folder = paths.home() / merge(made, Workspace(runs.create("merge", {})))["adapter"]
    expected = plain_losses(tiny_base, [str(folder)], (1.0,), rows)
    assert np.mean(list(expected.values())) == pytest.approx(found.outputs["mean"], rel=1e-5)
    assert found.outputs["by_category"] == pytest.approx(expected, rel=1e-5)


def test_the_surface_is_drawn_around_the_best_weights(config, parts, searched, mean_losses):
    settings = config(trials=10, surface=parts[1:], grid=4)
    found = searched(settings)
    table = results.read(found.workspace.path / "surface.csv", SurfacePoint)
    means = table[table["category"] == ALL]
    axis = [-0.5, 0.0, 0.5, 1.0]
    assert sorted(set(zip(means["one_weight"], means["other_weight"], strict=True))) == [(x, y) for x in axis for y in axis]
    assert len(table) == 16 * 4 and set(zip(table["one"], table["other"], strict=True)) == {tuple(parts[1:])}
    before = searched(config(trials=10))
    points = [(before.best[0], x, y) for x, y in zip(means["one_weight"], means["other_weight"], strict=True)]
    assert means["loss"].to_numpy() == pytest.approx(mean_losses(settings, points), rel=1e-6)
    assert found.outputs["mean"] == min(before.outputs["mean"], means["loss"].min())
    assert set(found.table["origin"]) >= {"surface", "gradient", "average"}


def test_the_interval_is_a_bootstrap_over_questions(config, rows, tiny_base, searched):
    found = searched(config(trials=40, seed=5))
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


def test_a_single_row_in_a_category_gives_no_interval(config, searched):
    found = searched(config(trials=2, limit=1))
    gain = found.outputs["gain_over_average"]
    assert gain["low"] is None and gain["high"] is None and "no interval: every category has a single row" in found.said
    assert f"To bake it: {found.outputs['command']}" in found.said


def test_weights_at_the_edge_of_the_bounds_are_named(config, parts):
    trials = SimpleNamespace(config=config(adapters=("a", "b"), bounds=(-0.5, 1.5)), objective=lambda tried: tried.mean)
    best = SimpleNamespace(strategy="linear", weights=(1.5, 0.2), mean=2.0)
    said = search._wording(trials, best, {"value": 0.1, "low": 0.05, "high": 0.2})
    assert "linear of a 1.5, b 0.2; 0.1000 below equal weights of 1/n (95 % interval 0.0500 to 0.2000" in said
    assert said.endswith("a stopped at the edge of bounds; wider ones may do better.")


def test_progress_is_told_and_ends_at_the_whole(config, parts, searched):
    found = searched(config(trials=12, surface=parts[:2], grid=3))
    events = runs.read_events(found.workspace.run.run_id, "progress")
    done = [event["done"] for event in events]
    assert done == sorted(done) and done[-1] == events[-1]["total"] == 8 + 12 + 9
    assert events[-1]["unit"] == "mixes" and f"lowest mean {found.outputs['mean']:.4f}" in events[-1]["message"]


def test_what_differs_from_training_is_said(config, parts, searched):
    assert "system_prompt=" not in searched(config()).said
    assert f"{parts[0]} was trained with system_prompt={VOICE!r}, not None." in searched(config(system_prompt=None)).said


def test_categories_without_validation_rows_are_said_and_none_at_all_refused(config, tiny_data, tmp_path, searched):
    rows = read(config()).rows
    keep = [row for row in rows if row.split == "train" or (row.split == "validation" and row.category == "cynic")]
    for name, kept in (("some", keep), ("none", [row for row in keep if row.split == "train"])):
        lines = [json.dumps({"question": row.question, "answer": row.answer, "category": row.category}) + "\n" for row in kept]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    found = searched(config(data=str(tmp_path / "some.jsonl")))
    assert "'hacker' has no validation row" in found.said and set(found.figures("loss").index) == set(range(8))
    assert set(found.table[found.table["figure"] == "loss"]["name"]) == {"cynic", ALL}
    with pytest.raises(UserError, match="No validation row of .* has an answer to measure on"):
        searched(config(data=str(tmp_path / "none.jsonl")))


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
