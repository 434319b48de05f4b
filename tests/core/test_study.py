"""A study on a tiny base model, as the demo is one: killed half-way, looked at, resumed."""

import time

from core import adapter, paths, results, runs, study
from core.config import DemoConfig
from core.jobs import local
from core.presets import PRESETS, STUDY
from core.verbs import VERBS
from core.workspace import Workspace

TITLES = ["data", "train own", "train pooled", "merge linear", "evaluate", "judge merged", "judge pooled", "judge own", "report"]
NAMES = ["demo-cynic", "demo-hacker", "demo-lexicon"]


def test_a_killed_demo_leaves_nothing_half_made_and_resume_finishes_it(naps, tiny_study, process, until):
    run = local.submit("tiny-demo", DemoConfig())
    evaluation = _stage(run, "evaluate")
    for module in ("worker", "execute"):
        process(module, run).kill()
    _settle(run)
    assert runs.read(evaluation.run_id).status == "failed" and not (evaluation.path / "scores.csv").exists()
    for folder in (paths.adapters() / name for name in NAMES):
        assert adapter.read(folder).rank == 8, "what is there is complete"
    first = _stages(run)

    local.resume(run.run_id)
    done = until(run, "done", seconds=90)
    again = _stages(run)
    assert all(again[title] == first[title] for title in TITLES[:4]), "what was done is not done again"
    assert again["evaluate"].run_id == evaluation.run_id and {stage.status for stage in again.values()} == {"done"}
    assert sorted(path.name for path in paths.adapters().iterdir()) == [*NAMES, "demo-pooled"]
    assert [path.name for path in paths.merged_adapters().iterdir()] == ["demo-merged"]
    answers = results.read(evaluation.path / "answers.csv", results.Answer)
    assert set(answers["model"]) == {"base", *NAMES, "demo-pooled", "demo-merged"}
    assert len(answers) == 6 * len(set(answers["question"]))
    assert list(done.outputs) == TITLES and done.outputs["judge own"]["verdicts"].endswith("verdicts.csv")
    assert done.outputs["report"]["html"].endswith("report.html")
    told = runs.read_events(run.run_id, "progress")
    shares = [event["done"] for event in told]
    for title, unit in (("data", "rows"), ("train own", "steps"), ("evaluate", "answers")):
        assert any(event["message"].startswith(f"{title}: ") and f" {unit}" in event["message"] for event in told), title
    assert shares[-1] == 100 and min(shares) >= 0


def test_a_stage_that_goes_over_its_work_twice_does_not_take_the_whole_back(home):
    run = runs.create("study", {})
    road = study.Road(Workspace(run), {"data": 10.0, "evaluate": 90.0}, {"data": run})
    for done in (2, 8, 1, 9):
        road._tell("evaluate", "progress", {"done": done, "total": 10, "unit": "answers", "message": ""})
    assert [event["done"] for event in runs.read_events(run.run_id, "progress")] == [26.0, 74.0, 74.0, 82.0]


def test_the_presets_are_ones_that_the_configs_take():
    for verb, named in PRESETS.items():
        for fields in named.values():
            VERBS[verb].config(**fields)
    for size in STUDY.values():
        for verb, fields in size.items():
            VERBS[verb].config(**fields)


def _stages(run):
    """The stages so far, by title."""
    return dict(zip(TITLES, reversed(runs.listing(parent=run.run_id)), strict=False))


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
