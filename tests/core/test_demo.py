"""The demo on a tiny base model: killed half-way, looked at, resumed; and its preset."""

import json
import time

import pytest

from core import adapter, demo, paths, results, runs
from core.config import DemoConfig
from core.jobs import local
from core.presets import PRESETS
from core.verbs import VERBS

NAMES = ["demo-cynic", "demo-hacker", "demo-lexicon"]


@pytest.fixture
def tiny_preset(tiny_base, tiny_data, monkeypatch):
    where = {"data": str(tiny_data), "base_model": str(tiny_base)}
    evaluate = where | {"limit": 1, "max_new_tokens": 4, "metrics": ["bleu"]}
    preset = {"train": where | {"max_steps": 2, "device": "cpu"}, "evaluate": evaluate}
    monkeypatch.setenv("TINY_PRESET", json.dumps(preset))


def test_a_killed_demo_leaves_nothing_half_made_and_resume_finishes_it(naps, tiny_preset, process, until):
    run = local.submit("tiny-demo", DemoConfig())
    evaluation = _stage(run, "evaluate")
    for module in ("worker", "execute"):
        process(module, run).kill()
    _settle(run)
    assert runs.read(evaluation.run_id).status == "failed" and not (evaluation.path / "scores.csv").exists()
    for folder in (paths.adapters() / name for name in NAMES):
        assert adapter.read(folder).rank == 8, "what is there is complete"
    first = {stage.verb: stage for stage in runs.listing(parent=run.run_id)}

    local.resume(run.run_id)
    done = until(run, "done", seconds=90)
    again = {stage.verb: stage for stage in runs.listing(parent=run.run_id)}
    assert again["train"] == first["train"], "what was done is not done again"
    assert again["evaluate"].run_id == evaluation.run_id and {stage.status for stage in again.values()} == {"done"}
    assert sorted(path.name for path in paths.adapters().iterdir()) == NAMES
    assert sorted(path.name for path in paths.merged_adapters().iterdir()) == ["demo-linear", "demo-svd"]
    answers = results.read(evaluation.path / "answers.csv", results.Answer)
    assert set(answers["model"]) == {"base", *NAMES, "demo-linear", "demo-svd"}
    assert len(answers) == 6 * len(set(answers["question"]))
    assert list(done.outputs) == list(demo.ENDS) and done.outputs["judge own"]["verdicts"].endswith("verdicts.csv")
    shares = [event["done"] for event in runs.read_events(run.run_id, "progress")]
    assert shares[-1] == 100 and min(shares) > 0


def test_the_presets_are_ones_that_the_configs_take():
    for verb, named in PRESETS.items():
        for fields in named.values():
            VERBS[verb].config(**fields)
    assert list(demo.ENDS.values()) == sorted(demo.ENDS.values()) and demo.ENDS["judge linear"] == 100


def _stage(run, verb):
    until = time.monotonic() + 60
    while not (stages := runs.listing(verb, parent=run.run_id)) or not runs.read_events(stages[0].run_id):
        now = runs.read(run.run_id)
        assert time.monotonic() < until and now.status in ("queued", "running"), now.error
        time.sleep(0.02)
    return stages[0]


def _settle(run):
    """Killed processes are gone a moment after the signal."""
    while runs.read(run.run_id).status == "running":
        local.reconcile()
        time.sleep(0.05)
    local.reconcile()
