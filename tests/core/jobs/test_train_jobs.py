"""Real training jobs: two at once run one after the other, steps.csv grows meanwhile, and cancel leaves nothing."""

import time

from core import paths, runs
from core.config import TrainConfig
from core.jobs import local


def test_two_train_jobs_run_one_after_the_other_and_a_third_is_cancelled(tiny_base, tiny_data, until):
    shared = {"data": str(tiny_data), "base_model": str(tiny_base), "categories": "cynic", "device": "cpu", "r": 2}
    first, second = (local.submit("train", TrainConfig(**shared, max_steps=20, name=name)) for name in ("one", "two"))
    endless = local.submit("train", TrainConfig(**shared, epochs=1000, name="three"))
    while runs.read(second.run_id).status != "done":
        running = runs.listing(status="running")
        assert len(running) <= 1, [run.run_id for run in running]
        time.sleep(0.05)
    one, two = runs.read(first.run_id), runs.read(second.run_id)
    assert (one.status, two.status) == ("done", "done"), (one.error, two.error)
    assert one.finished_at <= two.started_at

    steps, sizes = endless.path / "steps.csv", set()
    end = time.monotonic() + 40
    while len(sizes) < 4:
        assert time.monotonic() < end, runs.read(endless.run_id)
        if steps.exists():
            sizes.add(steps.stat().st_size)
        time.sleep(0.05)
    started = time.monotonic()
    assert local.cancel(endless.run_id).status == "cancelled"
    assert time.monotonic() - started < 5
    assert {path.name for path in endless.path.iterdir()} == {"run.json", "events.jsonl", "log.txt"}
    assert sorted(path.name for path in paths.adapters().iterdir()) == ["one", "two"]
