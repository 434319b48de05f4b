"""A GGUF file as the judge, run for real with the bundled one; and what is said when it can't be."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from core import results, runs
from core.config import JudgeConfig
from core.errors import UserError
from core.judge.llamacpp import LlamaCpp
from core.judge.run import run
from core.models import bundled
from core.workspace import Workspace


def made(model: str | None) -> LlamaCpp:
    return LlamaCpp(JudgeConfig(backend="llamacpp"), model, lambda reason, seconds: None)


@pytest.mark.bundled
def test_a_file_judges_from_end_to_end_and_is_known_by_its_content(file: Path, tmp_path: Path) -> None:
    gguf = bundled.gguf()
    assert gguf is not None
    shutil.copy(gguf, tmp_path / "copy.gguf")
    config = JudgeConfig(answers=str(file), candidate="tuned", backend="llamacpp", judge_model=str(gguf), max_tokens=4, limit=2)
    workspace = Workspace(runs.create("judge", config.model_dump()))
    outputs = run(config, workspace)
    table = results.read(workspace.path / "verdicts.csv", results.Verdict)
    assert outputs["requests"] == 4 and outputs["failed"] == 0 and (table["first_reply"] != "").all() and (table["tokens"] > 200).all()
    assert outputs["judge"] == f"{gguf.stem} (llama.cpp)"
    again = run(config, Workspace(runs.create("judge", config.model_dump())))
    assert again["requests"] == 0 and again["counts"] == outputs["counts"]
    assert made(str(tmp_path / "copy.gguf")).place() == made(str(gguf)).place()


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="comes in 22 packages, and the one with part 1 is not installed"):
        made(None)
    with pytest.raises(UserError, match="There is no file 'gone.gguf'"):
        made("gone.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(UserError, match="is no GGUF file"):
        made(str(tmp_path / "text.gguf"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install -r requirements.txt"):
        made("any.gguf")
