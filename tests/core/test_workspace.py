"""What a run makes appears whole, once, in its place."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from core import paths, runs
from core.errors import UserError
from core.workspace import Workspace


def adapter_folder(parent, run_id, text="x"):
    made = parent / f"made-{text}"
    made.mkdir(parents=True)
    (made / "run.json").write_text(json.dumps({"run_id": run_id, "text": text}))
    return made


def test_publishing_moves_a_finished_folder_and_notes_it(tmp_path):
    workspace = Workspace(runs.create("train", {}))
    final = workspace.publish(adapter_folder(tmp_path, "r"), paths.adapters() / "cynic-lora")
    assert json.loads((final / "run.json").read_text())["text"] == "x"
    assert [event["path"] for event in runs.read_events(workspace.run.run_id, "published")] == ["adapters/cynic-lora"]


def test_a_taken_place_is_refused_unless_replaced_or_ones_own(tmp_path):
    first, second = Workspace(runs.create("train", {})), Workspace(runs.create("train", {}))
    final = paths.adapters() / "taken"
    first.publish(adapter_folder(tmp_path / "a", first.run.run_id, "one"), final)
    with pytest.raises(UserError, match="'taken' exists already .* say replace=true"):
        second.publish(adapter_folder(tmp_path / "b", second.run.run_id, "two"), final)
    assert json.loads((final / "run.json").read_text())["text"] == "one"
    first.publish(adapter_folder(tmp_path / "c", first.run.run_id, "three"), final)
    second.publish(adapter_folder(tmp_path / "d", second.run.run_id, "four"), final, replace=True)
    assert json.loads((final / "run.json").read_text())["text"] == "four"
    assert not list(second.scratch.iterdir()), "what was replaced is gone"


def test_folders_that_are_mounted_apart_are_published_to(tmp_path, home):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:  # a file system of its own, as a container's volume is
        home.mkdir(exist_ok=True)
        paths.adapters().symlink_to(elsewhere)
        final = paths.adapters() / "mounted"
        for text, replaced in (("one", False), ("two", True)):
            workspace = Workspace(runs.create("train", {}))
            made = adapter_folder(workspace.scratch, workspace.run.run_id, text)
            with pytest.raises(OSError, match="cross-device"):
                os.rename(made, Path(elsewhere) / "probe")
            workspace.publish(made, final, replace=replaced)
            assert json.loads((final / "run.json").read_text())["text"] == text
            assert os.listdir(elsewhere) == ["mounted"], "no rest of the copy, and none of what was replaced"


def test_a_replacement_that_breaks_off_leaves_the_old_one_in_its_place(tmp_path):
    workspace = Workspace(runs.create("train", {}))
    final = workspace.publish(adapter_folder(tmp_path, "r", "old"), paths.adapters() / "kept")
    made = tmp_path / "vanished"
    made.mkdir()
    (paths.adapters() / "kept" / "nested").mkdir()
    with pytest.raises(OSError):
        workspace._exchange(made, final, aside=workspace.scratch / "nowhere")
    assert json.loads((final / "run.json").read_text())["text"] == "old" and (final / "nested").exists()
