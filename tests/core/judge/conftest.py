"""A judge to drive, and four pairs of answers for it."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core import results, runs
from core.config import JudgeConfig
from core.judge.run import run
from core.models import chat
from core.workspace import Workspace
from tests.servers import ChatServer

REFERENCE = "virtue is knowledge"
KEY = "sk-very-secret"
ROWS = [
    ("better", "virtue is knowledge indeed", "fine-tuned"),
    ("worse", "no idea", "base"),
    ("equal", "virtue can be learnt", "tie"),
    ("better too", "virtue is plain knowledge", "fine-tuned"),
]
"""Question, the candidate's prediction, and the right verdict by words shared with the reference; the base shares two, of 'equal' one."""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GROQ_API_KEY", KEY)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "answers.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        out = csv.writer(handle)
        out.writerow(["run", "model", "category", "question", "reference", "prediction"])
        for question, candidate, _ in ROWS:
            base = "virtue" if question == "equal" else "virtue is courage"
            out.writerow(["r", "base", "ethics", question, REFERENCE, base])
            out.writerow(["r", "tuned", "ethics", question, REFERENCE, candidate])
    return path


Judge = Callable[..., tuple[dict[str, Any], pd.DataFrame, Workspace]]


@pytest.fixture
def judge(file: Path) -> Judge:
    def make(server: ChatServer, workspace: Workspace | None = None, **fields: Any) -> tuple[dict[str, Any], pd.DataFrame, Workspace]:
        config = settings(file, server, **fields)
        workspace = workspace or Workspace(runs.create("judge", config.model_dump()))
        outputs = run(config, workspace)
        return outputs, results.read(workspace.path / "verdicts.csv", results.Verdict), workspace

    return make


def settings(file: Path, server: ChatServer, **fields: Any) -> JudgeConfig:
    fields = {"answers": str(file), "backend": "openai", "candidate": "tuned", "timeout_seconds": 0.4, "retries": 2, **fields}
    fields.setdefault("base_url", server.url if fields["backend"] == "openai" else server.root)
    fields.setdefault("judge_model", "judge-1" if fields["backend"] != "similarity" else None)
    fields["judge_model"] = fields["judge_model"] or ()
    return JudgeConfig(**fields)
