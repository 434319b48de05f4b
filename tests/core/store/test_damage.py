"""What is damaged, cut, hostile or too large is noticed, and shown to nobody."""

import json
import resource

import pytest

from core.errors import UserError
from core.store import incoming, ledger, publish
from core.store.marker import Thing, inside, parse
from core.store.remote import connect
from tests.core.store.things import make, up


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
