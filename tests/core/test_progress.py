import json

import pytest

from core import progress, runs


def _say(run: runs.Run, *events: tuple[int, float, float, str]) -> None:
    lines = [
        json.dumps(
            {"time": f"2026-01-01T00:00:{second:02d}+00:00", "kind": "progress", "done": done, "total": total, "unit": unit, "message": ""}
        )
        for second, done, total, unit in events
    ]
    (run.path / "events.jsonl").write_text("\n".join(lines) + "\n")


def test_time_left_is_at_the_pace_of_this_stage_alone() -> None:
    run = runs.create("demo", {})
    assert progress.latest(run.run_id) is None
    _say(run, (0, 0, 9, "rows"), (10, 9, 9, "rows"), (10, 0, 100, "steps"), (30, 20, 100, "steps"))
    now = progress.latest(run.run_id)
    assert now is not None and now.seconds_left == pytest.approx(80) and now.share == 0.2
    assert now.text == "20 of 100 steps, 1 min 20 s left"


def test_no_pace_no_time_left() -> None:
    run = runs.create("demo", {})
    _say(run, (0, 5, 100, "steps"))
    now = progress.latest(run.run_id)
    assert now is not None and now.seconds_left is None and now.text == "5 of 100 steps"
