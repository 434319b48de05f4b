"""Run folders: run.json, events, log."""

import json
import shutil
import threading
from dataclasses import replace

import pytest

from core import paths, runs
from core.errors import UserError
from core.workspace import Workspace


def test_a_new_run_is_queued_and_read_back():
    run = runs.create("train", {"r": 8, "categories": ["a"]}, parent="20260101-000000-000-demo-0000")
    assert runs.read(run.run_id) == run
    assert run.status == "queued" and run.config == {"r": 8, "categories": ["a"]} and run.created_at.endswith("+00:00")
    assert run.path == paths.results() / run.run_id


def test_a_run_is_seen_only_when_it_is_written():
    run = runs.new("train", {})
    assert runs.listing() == []
    runs.write(run)
    assert runs.listing() == [run]


def test_listing_is_newest_first_and_filters():
    made = [runs.create(verb, {}, parent=parent) for verb, parent in (("demo", None), ("train", "demo-1"), ("train", None))]
    runs.update(made[1].run_id, status="done")
    ids = [run.run_id for run in made]
    assert [run.run_id for run in runs.listing()] == sorted(ids, reverse=True)
    assert {run.run_id for run in runs.listing("train")} == set(ids[1:])
    assert [run.run_id for run in runs.listing(status="done")] == [run.run_id for run in runs.listing(parent="demo-1")] == [ids[1]]
    assert runs.read("last").run_id == max(ids)


def test_ids_that_are_unknown_or_leave_the_folder_are_refused():
    with pytest.raises(UserError, match="so there is no last one"):
        runs.read("last")
    with pytest.raises(UserError, match="There is no run 'nope'"):
        runs.read("nope")
    for name in ("../escape", "a/b", "", ".locks"):
        with pytest.raises(UserError):
            runs.read(name)
        with pytest.raises(UserError):
            runs.update(name, status="done")


def test_a_field_of_a_later_version_does_not_disturb():
    run = runs.create("data", {})
    file = run.path / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"colour": "blue"}))
    assert runs.read(run.run_id) == run


def test_update_only_if_changes_nothing_otherwise():
    run = runs.create("data", {})
    assert runs.update(run.run_id, only_if="running", status="done") == run == runs.read(run.run_id)
    assert runs.update(run.run_id, only_if="queued", status="running").status == "running"


def test_of_many_who_claim_a_run_one_wins_and_no_update_is_lost():
    run = runs.create("data", {"count": 0})
    won = []

    def claim(number):
        for step in range(20):
            if runs.update(run.run_id, only_if="queued", status="running", pid=number).pid == number and step == 0:
                won.append(number)
            with runs.locked(run.run_id):
                now = runs.read(run.run_id)
                runs.write(replace(now, config={"count": now.config["count"] + 1}))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(1, 6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(won) == 1 and runs.read(run.run_id).config == {"count": 100}


def test_requeue_forgets_how_it_ended_but_not_what_it_is():
    run = runs.create("train", {"r": 2})
    runs.update(run.run_id, status="failed", error="x", fault="bug", pid=7, started_at=runs.now(), finished_at=runs.now())
    assert runs.requeue(run.run_id) == run


def test_events_are_read_whole_by_kind_and_from_a_position():
    workspace = Workspace(runs.create("data", {}))
    workspace.progress(1, 4, "rows", "reading")
    first, position = runs.events_since(workspace.run.run_id, 0)
    workspace.say("grüß Gott\u2028 — zwei Zeilen?")
    with (workspace.path / "events.jsonl").open("a") as file:
        file.write('{"kind": "half')  # still being written
    later, end = runs.events_since(workspace.run.run_id, position)
    assert [event["done"] for event in first] == [1]
    assert [event["message"] for event in later] == ["grüß Gott\u2028 — zwei Zeilen?"]
    assert runs.events_since(workspace.run.run_id, end) == ([], end)
    assert [event["kind"] for event in runs.read_events(workspace.run.run_id)] == ["progress", "say"]
    assert runs.read_events(workspace.run.run_id, "say") == later


def test_an_event_that_a_full_disk_tore_does_not_hide_the_others():
    workspace = Workspace(runs.create("train", {}))
    workspace.say("before")
    with (workspace.path / "events.jsonl").open("a") as file:
        file.write('{"time": "2026\n')
    workspace.say("after")
    assert [event["message"] for event in runs.read_events(workspace.run.run_id)] == ["before", "after"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_run_is_told_and_does_not_hide_the_others(content):
    whole, damaged = runs.create("train", {}), runs.create("train", {})
    (damaged.path / "run.json").write_text(content)
    assert runs.listing() == [whole]
    with pytest.raises(UserError, match="is damaged"):
        runs.read(damaged.run_id)


@pytest.mark.parametrize(
    "change", [{"config": None}, {"created_at": 5}, {"started_at": "soon"}, {"outputs": []}, {"status": "gone"}, {"run_id": "copied"}]
)
def test_a_run_with_values_that_no_run_has_is_skipped_and_told(change):
    whole, damaged = runs.create("train", {}), runs.create("train", {})
    file = damaged.path / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert runs.listing() == [whole]
    with pytest.raises(UserError, match="is damaged|is a copy"):
        runs.read(damaged.run_id)


def test_a_copied_folder_is_no_second_run():
    run = runs.create("train", {})
    shutil.copytree(run.path, run.path.with_name("zz-copy"))
    assert runs.listing() == [run]


def test_log_tail_gives_the_last_lines_of_a_long_log():
    run = runs.create("data", {})
    assert runs.log_tail(run.run_id) == ""
    (run.path / "log.txt").write_text("".join(f"line {number}\n" for number in range(50_000)))
    assert runs.log_tail(run.run_id, 2) == "line 49998\nline 49999"


def test_remove_takes_the_folder_and_the_locks():
    run = runs.create("data", {})
    runs.update(run.run_id, status="done")
    runs.remove(run.run_id)
    assert runs.listing() == [] and not run.path.exists() and not list((paths.results() / ".locks").iterdir())


def test_versions_are_those_of_the_installed_packages():
    import pydantic

    assert runs.versions("pydantic") == {"pydantic": pydantic.VERSION}
