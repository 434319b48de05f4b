"""What is published on one machine is had by another, whole, whatever happens in between."""

import os
import signal
import subprocess
import sys
import time

import pytest

from core import paths, runs, store
from core.errors import UserError
from core.store import incoming, ledger, publish, remote, running
from core.store.marker import KINDS, SHELVES, UPLOADS, Thing
from core.store.remote import connect
from core.workspace import Workspace
from tests.core.store.things import content, keys, make, up


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_thing_comes_to_another_machine_as_it_was(kind, here, there):
    thing = make(kind, "made.jsonl")
    before, times = content(thing), {name: ledger.path_of(thing, name).stat().st_mtime_ns for name in publish.names_of(thing)}
    assert up(thing)
    assert not up(thing), "nothing to do the second time"
    there.enter()
    assert not thing.local.exists()
    assert incoming.fetch() == []
    assert content(thing) == before
    assert {name: ledger.path_of(thing, name).stat().st_mtime_ns for name in publish.names_of(thing)} == times


def test_the_files_in_the_store_are_plain_and_where_the_marker_says(here):
    thing = make("adapters", "mine")
    up(thing)
    marker = publish.read(thing)
    for name, file in marker.files.items():
        assert connect().read(f"adapters/mine/{file.version}/{name}") == (thing.local / name).read_bytes()
    assert keys() == sorted(f"adapters/mine/{marker.version}/{name}" for name in marker.files)


def test_a_large_file_goes_up_in_parts_and_comes_down_whole(here, there):
    thing = make("adapters", "large", size=30 * 2**20, fill=os.urandom(4))  # 120 MB: more than one part of s3fs
    before = content(thing)
    up(thing)
    there.enter()
    incoming.fetch()
    assert content(thing) == before


def test_large_files_of_a_whole_model_come_at_their_first_use(here, there, monkeypatch):
    monkeypatch.setattr(incoming, "LAZY_BYTES", 500)
    thing = make("models", "whole")
    before = content(thing)
    up(thing)
    there.enter()
    incoming.fetch()
    assert set(content(thing)) == {"run.json"}
    running.rest()
    incoming.fetch()
    assert len(publish.read(thing).files) == 3, "who has not fetched them does not take them out of the store"
    store.need(thing.local)
    assert content(thing) == before


def test_more_things_than_a_page_of_the_listing_holds(s3, url, here):
    folder = url.removeprefix("s3://")
    s3.client().pipe({f"{folder}/published/adapters/{number}.json": b"{}" for number in range(1105)})
    assert {thing.name for thing in connect().markers()} == set(map(str, range(1105)))


def test_nothing_new_costs_one_listing(here, there, monkeypatch):
    for name in ("a", "b", "c"):
        up(make("adapters", name))
    there.enter()
    incoming.fetch()
    monkeypatch.setattr(publish, "read", None)
    assert incoming.fetch() == []


def test_replacing_shows_the_old_or_the_new_and_leaves_no_old_files(here, there):
    thing = make("adapters", "mine", fill=b"1")
    up(thing)
    there.enter()
    incoming.fetch()
    here.enter()
    make("adapters", "mine", fill=b"2")
    up(thing, replace=True)
    marker = publish.read(thing)
    assert {key.split("/")[2] for key in keys()} == {file.version for file in marker.files.values()}
    there.enter()
    incoming.fetch()
    assert content(thing)["weights.safetensors"] == b"2" * 1000


def test_of_a_run_only_what_has_changed_goes_up_again(here):
    thing = make("results", "20260101-000000-000-train-abcd")
    up(thing, replace=True)
    first = publish.read(thing)
    (thing.local / "run.json").write_text("{}")
    up(thing, replace=True)
    second = publish.read(thing)
    assert second.files["weights.safetensors"] == first.files["weights.safetensors"]
    assert second.files["run.json"].version == second.version != first.version


def test_a_thing_whose_files_are_the_same_again_needs_none_of_them(here, there):
    thing = make("adapters", "mine")
    up(thing)
    there.enter()
    incoming.fetch()
    before = content(thing)
    here.enter()
    assert up(thing, replace=True, run_id="another")
    there.enter()
    assert incoming.fetch() == [] and content(thing) == before
    assert ledger.get(thing).marker.run_id == "another"


def test_a_taken_name_is_refused_as_it_is_here_unless_replaced(here, there):
    up(make("adapters", "mine", fill=b"1"))
    there.enter()
    other = "20260102-000000-000-train-ffff"
    thing = make("adapters", "mine", fill=b"2", run_id=other)
    with pytest.raises(UserError, match=r"'mine' exists already in the store's adapters.*on here\..*replace=true"):
        up(thing, run_id=other)
    with pytest.raises(UserError, match="exists already"):
        store.refuse_taken(thing.local, other)
    assert incoming.fetch()[0].startswith("adapters/mine here is not the one in the store")
    assert content(thing)["weights.safetensors"] == b"2" * 1000, "what was made here is not overwritten"
    up(thing, replace=True, run_id=other)
    here.enter()
    incoming.fetch()
    assert content(thing)["weights.safetensors"] == b"2" * 1000


def test_of_two_who_replace_the_last_marker_wins_whole(here, there):
    thing = make("adapters", "mine", fill=b"1")
    up(thing)
    there.enter()
    incoming.fetch()
    for machine, fill in ((here, b"2"), (there, b"3")):
        machine.enter()
        make("adapters", "mine", fill=fill)
        up(thing, replace=True, run_id="another")
    for machine in (here, there):
        machine.enter()
        incoming.fetch()
        assert set(content(thing)["weights.safetensors"]) == set(b"3")


WRITER = """
import itertools, sys
from tests.core.store.things import make, up
for number in itertools.count():
    up(make("adapters", "mine", size=400_000, fill=b"%d" % (number % 10)), replace=True)
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_point_leaves_a_whole_thing_and_no_rest(here, there):
    thing = make("adapters", "mine", size=400_000, fill=b"9")
    up(thing)
    seen = set()
    for turn in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER], cwd=paths.PROJECT, stdout=subprocess.PIPE)
        assert writer.stdout and writer.stdout.readline()
        time.sleep(0.03 + turn * 0.037)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        there.enter()
        assert incoming.fetch() == []
        files = content(thing)
        assert len(files) == 3 and files["weights.safetensors"] == files["deep/er/table.csv"]
        assert len(set(files["weights.safetensors"])) == 1 and len(files["weights.safetensors"]) == 400_000
        seen.add(files["weights.safetensors"][:1])
        here.enter()
    make("adapters", "mine", fill=b"7")
    up(thing, replace=True)
    assert {key.split("/")[2] for key in keys()} == {publish.read(thing).version}, "what the dead left is gone"


def test_what_another_machine_is_writing_is_left_alone_for_a_day(here, monkeypatch):
    thing = make("adapters", "mine")
    connect().write("adapters/mine/20260101-000000-000000-other-1234/weights.safetensors", b"half")
    up(thing)
    assert any("other-1234" in key for key in keys())
    monkeypatch.setattr(publish, "DEAD_SECONDS", -1.0)
    make("adapters", "mine", fill=b"2")
    up(thing, replace=True)
    assert not any("other-1234" in key for key in keys())


def test_what_is_removed_goes_marker_first_and_then_everywhere(here, there):
    thing = make("adapters", "mine")
    up(thing)
    up(make("adapters", "other"))
    there.enter()
    incoming.fetch()
    here.enter()
    publish.remove(thing)
    assert publish.read(thing) is None
    assert not any(key.startswith("adapters/mine") for key in keys())
    there.enter()
    incoming.fetch()
    assert not thing.local.exists()
    assert Thing("adapters", "other").local.exists()


def test_a_removed_run_goes_everywhere_whatever_was_made_of_it_there(here, there):
    thing = make("results", "20260101-000000-000-train-abcd")
    up(thing)
    up(make("adapters", "other"))
    there.enter()
    incoming.fetch()
    (thing.local / "deep" / "er" / "table.csv").write_bytes(b"changed")
    here.enter()
    publish.remove(thing)
    there.enter()
    assert incoming.fetch() == [] and not thing.local.exists()


def test_a_store_that_was_emptied_empties_nobody(here, there):
    thing = make("adapters", "mine")
    up(thing)
    there.enter()
    incoming.fetch()
    here.enter()
    publish.remove(thing)
    there.enter()
    with pytest.raises(UserError, match="is empty, though 1 things were published"):
        incoming.fetch()
    assert thing.local.exists()


def test_a_server_that_has_just_come_back_is_asked_again_before_it_is_taken_for_emptied(here, monkeypatch):
    thing = make("adapters", "mine")
    up(thing)
    listed, empty = remote.Remote.markers, iter([{}, {}])
    monkeypatch.setattr(remote.Remote, "markers", lambda self: found if (found := next(empty, None)) is not None else listed(self))
    assert incoming.fetch(5.0) == [] and next(empty, None) is None
    assert thing.local.exists()


def test_publishing_here_asks_the_store_for_the_name(here, there):
    up(make("adapters", "mine"))
    there.enter()
    workspace = Workspace(runs.create("train", {}))
    made = workspace.scratch / "mine"
    made.mkdir()
    with pytest.raises(UserError, match="exists already in the store's adapters"):
        workspace.publish(made, paths.adapters() / "mine")


def test_what_killed_processes_left_is_brought_up_later(here, there):
    run = runs.create("train", {})
    thing = make("adapters", "mine", run_id=run.run_id)
    upload = make(UPLOADS, "rows.jsonl")
    running.rest()
    assert publish.read(thing) is None, "the run that made it is under way"
    runs.update(run.run_id, status="done")
    running.rest()
    there.enter()
    incoming.fetch()
    assert runs.read(run.run_id).status == "done"
    assert thing.local.exists() and upload.local.exists()


def test_shelves_are_kinds():
    assert set(SHELVES) < set(KINDS)
