"""What is published on one machine is had by another, whole, whatever happens in between."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import paths, runs, store
from core.errors import UserError
from core.runs import Workspace
from core.store import incoming, ledger, publish, remote, running
from core.store.marker import KINDS, SHELVES, UPLOADS, Thing, inside, parse
from core.store.remote import connect


def make(kind, name, size=1000, fill=b"1", run_id="20260101-000000-000-train-abcd"):
    """A thing as a run leaves it; an upload is a file."""
    thing = Thing(kind, name)
    if kind == UPLOADS:
        thing.local.parent.mkdir(parents=True, exist_ok=True)
        thing.local.write_bytes(fill * size)
        return thing
    (thing.local / "deep" / "er").mkdir(parents=True, exist_ok=True)
    for file in ("weights.safetensors", "deep/er/table.csv"):
        (thing.local / file).write_bytes(fill * size)
    (thing.local / "run.json").write_text(json.dumps({"run_id": run_id}))
    return thing


def up(thing, replace=False, run_id="20260101-000000-000-train-abcd"):
    return publish.publish(thing, publish.names_of(thing), run_id=run_id, replace=replace, wait=20.0)


def content(thing):
    """Every file of a thing here, by name."""
    return {name: ledger.path_of(thing, name).read_bytes() for name in publish.names_of(thing)} if thing.local.exists() else {}


def keys():
    """What lies in the store of this thing or that, markers apart."""
    remote = connect()
    return sorted(key for kind in KINDS for key in remote.sizes(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_thing_comes_to_another_machine_as_it_was(kind, here, there):
    thing = make(kind, "made.jsonl")
    before, times = content(thing), {name: int(ledger.path_of(thing, name).stat().st_mtime) for name in publish.names_of(thing)}
    assert up(thing)
    assert not up(thing), "nothing to do the second time"
    there.enter()
    assert not thing.local.exists()
    assert incoming.fetch() == []
    assert content(thing) == before
    assert {name: int(ledger.path_of(thing, name).stat().st_mtime) for name in publish.names_of(thing)} == times


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
from tests.core.store.test_things import make, up
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


def test_a_damaged_or_cut_file_is_noticed_and_shown_to_nobody(here, there):
    thing = make("adapters", "mine")
    up(thing)
    up(make("adapters", "whole"))
    version = publish.read(thing).version
    for wrong in (b"1" * 999 + b"2", b"1" * 10):
        connect().write(f"adapters/mine/{version}/weights.safetensors", wrong)
        there.enter()
        assert incoming.fetch() == [
            "adapters/mine is damaged in the store (weights.safetensors has not the sha256 that its marker names). Publish it again."
        ]
        assert not thing.local.exists()
        assert Thing("adapters", "whole").local.exists()
        here.enter()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ".hidden", "a//b", "a\\b", "", "a/./b", "x" * 500, "a\nb"])
def test_a_marker_that_names_files_outside_is_refused(name, here, there):
    thing = make("adapters", "mine")
    up(thing)
    assert not inside(name)
    text = json.loads(connect().read(thing.marker))
    text["files"][name] = text["files"]["run.json"]
    connect().write(thing.marker, json.dumps(text).encode())
    there.enter()
    (problem,) = incoming.fetch()
    assert "outside of its folder" in problem
    assert not thing.local.exists()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"files": 1}', b'{"files": {}, "version": 1, "place": "x", "at": ""}', b"\xff\xfe"])
def test_a_damaged_marker_is_told(text, here):
    with pytest.raises(UserError, match=r"marker published/adapters/mine.json is damaged"):
        parse(text, Thing("adapters", "mine"))


def test_names_that_could_leave_their_folder_are_refused_or_not_seen(here):
    for name in ("../x", "", ".x", "a/b"):
        with pytest.raises(UserError, match="can't be used"):
            Thing("adapters", name)
    connect().write("published/adapters/..x.json", b"{}")
    connect().write("published/elsewhere/x.json", b"{}")
    assert connect().markers() == {}


def test_a_disk_that_is_full_leaves_nothing_half_downloaded(here, there):
    thing = make("adapters", "mine", size=2_000_000)
    up(thing)
    there.enter()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        (problem,) = incoming.fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large. Free some space" in problem
    assert not thing.local.exists()
    assert list((ledger.folder() / "incoming").iterdir()) == []
    assert incoming.fetch() == []
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


def test_a_shared_folder_is_a_store_too(tmp_path, monkeypatch):
    share = tmp_path / "share"
    share.mkdir()
    monkeypatch.setenv("LYCEUM_HOME", f"file://{share}")
    monkeypatch.setenv("LYCEUM_WORK", str(tmp_path / "one"))
    thing = make("adapters", "mine")
    before = content(thing)
    up(thing)
    assert not list(Path(share).rglob(".*")), "markers appear by rename"
    monkeypatch.setenv("LYCEUM_WORK", str(tmp_path / "two"))
    assert store.fetch() == []
    assert content(thing) == before
    monkeypatch.setenv("LYCEUM_HOME", f"file://{share}/nowhere")
    monkeypatch.setenv("LYCEUM_WORK", str(tmp_path / "three"))
    with pytest.raises(UserError, match="There is no folder"):
        store.fetch()


@pytest.mark.parametrize("work", ["", "work"])
def test_a_working_copy_lies_outside_its_store(tmp_path, monkeypatch, work):
    monkeypatch.setenv("LYCEUM_HOME", f"file://{tmp_path}")
    monkeypatch.setenv("LYCEUM_WORK", str(tmp_path / work))
    with pytest.raises(UserError, match="lies in the store that LYCEUM_HOME names, .* Give it a folder elsewhere"):
        store.fetch()


@pytest.mark.parametrize("home", ["file://", "s3://", "s3:///", "memory://"])
def test_a_url_without_a_folder(monkeypatch, home):
    monkeypatch.setenv("LYCEUM_HOME", home)
    with pytest.raises(UserError, match=f"LYCEUM_HOME is '{home}', which names no folder. Say which, such as s3://bucket/folder"):
        store.fetch()
