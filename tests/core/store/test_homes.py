"""Which homes are stores, and where their working copies lie."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import paths, store
from core.errors import UserError
from tests.core.store.things import content, make, up


def test_a_plain_home_never_loads_a_store_library(home):
    code = (
        "import sys; from core.__main__ import main; main(['jobs']); "
        "from core import store; store.fetch(); store.refresh(); "
        "print([name for name in ('fsspec', 's3fs', 'sqlite3', 'core.store.remote') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert not (home / ".store").exists()


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


def test_a_working_copy_is_of_one_store(here, monkeypatch):
    store.fetch()
    monkeypatch.setenv("LYCEUM_HOME", os.environ["LYCEUM_HOME"] + "-other")
    with pytest.raises(UserError, match="is the working copy of another store"):
        store.fetch()


@pytest.mark.parametrize("home", ["file://", "s3://", "s3:///", "memory://"])
def test_a_url_without_a_folder(monkeypatch, home):
    monkeypatch.setenv("LYCEUM_HOME", home)
    with pytest.raises(UserError, match=f"LYCEUM_HOME is '{home}', which names no folder. Say which, such as s3://bucket/folder"):
        store.fetch()
