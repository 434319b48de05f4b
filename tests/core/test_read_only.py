"""Read-only mode where things happen: called directly, by the command line, and at the limits of what visitors may do."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from core import console, playground, rates, read_only, runs, saved_questions, uploads
from core.__main__ import main
from core.config import DataConfig, DrawingConfig
from core.errors import UserError
from core.jobs import execute, local, locks, worker
from core.judge import arena, votes
from core.serve import client, process, resident
from core.serve.resident import Engine
from core.verbs import VERBS
from tests.pages import sample

ENGINE = Engine("http://127.0.0.1:9", 0, "bundled", "")
HERE = Path(__file__).resolve().parents[2]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(read_only.VARIABLE, "1")


def tree(home: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder of a home with its size and when it changed."""
    return {str(file.relative_to(home)): (file.stat().st_size, file.stat().st_mtime_ns) for file in home.rglob("*")}


@pytest.mark.parametrize(("said", "active"), [("1", True), ("true", True), (" YES ", True), ("", False), ("0", False), ("no", False)])
def test_the_variable(monkeypatch: pytest.MonkeyPatch, said: str, active: bool) -> None:
    monkeypatch.setenv(read_only.VARIABLE, said)
    assert read_only.active() is active


def test_a_typing_error_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(read_only.VARIABLE, "ture")
    with pytest.raises(UserError, match="LYCEUM_READ_ONLY=ture says neither yes nor no"):
        local.submit("data", DataConfig())


def actions(run_id: str) -> dict[str, Callable[[], object]]:
    verdict = {"run": run_id, "pair": "p", "base": "base", "candidate": "own", "category": "c", "question": "q"}
    return {
        "submit": lambda: local.submit("data", DataConfig()),
        "resume": lambda: local.resume(run_id),
        "cancel": lambda: local.cancel(run_id),
        "remove": lambda: local.remove(run_id),
        "a worker": lambda: worker.main(run_id, 0),
        "a job's process": lambda: execute.main(run_id),
        "start an engine": resident.start,
        "stop it": resident.stop,
        "an engine's process": lambda: process.main(["{}"]),
        "upload": lambda: uploads.keep("a.csv", b"question,answer\n1,2\n"),
        "save a question": lambda: saved_questions.save("Why?", "So.", "law"),
        "pin a question": lambda: console.pin([console.Question("law", "Why?")]),
        "vote with names": lambda: arena.vote_openly(verdict, "Ada", "tie"),
        "the console's answers": lambda: client.answers(ENGINE, "s", []),
        "the console's losses": lambda: client.losses(ENGINE, "s", []),
        "ask documents": lambda: client.rag_answers(ENGINE, "s", {}),
    }


@pytest.mark.parametrize("name", actions(""))
def test_every_action_is_refused_where_it_happens(demo: None, home: Path, name: str) -> None:
    run = sample.train("failed", error="out of memory")
    before = tree(home), psutil.Process().children()
    with pytest.raises(UserError, match=r"is off: this is a read-only demo \(LYCEUM_READ_ONLY=1\)"):
        actions(run.run_id)[name]()
    assert (tree(home), psutil.Process().children()) == before


NEEDED = {
    "merge": ["--adapters", "a,b"],
    "search": ["--adapters", "a,b"],
    "route": ["--adapters", "a,b"],
    "export": ["--model", "m"],
    "judge": ["--candidate", "own"],
    "audit": ["--verdicts", "v.csv"],
    "rag": ["--question", "Why?"],
    "study": ["--data", "d.csv"],
}
"""What a verb can't do without."""


@pytest.mark.parametrize("words", [[verb] for verb in VERBS] + [["serve", "--detach"], ["serve", "--stop"], ["jobs", "--resume", "last"]])
def test_the_command_line_starts_nothing(demo: None, home: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    sample.train("failed", error="out of memory")
    before = tree(home)
    assert main([*words, *NEEDED.get(words[0], [])]) == 2
    assert "is off: this is a read-only demo" in capsys.readouterr().err
    assert tree(home) == before


def test_a_process_of_its_own_is_refused_too(demo: None, home: Path) -> None:
    ended = subprocess.run([sys.executable, "-m", "core", "data"], cwd=HERE, capture_output=True, text=True)
    assert ended.returncode == 2 and "Starting a job is off" in ended.stderr and "Traceback" not in ended.stderr
    assert not (home / "results").exists()


def test_a_page_that_looks_gives_an_orphaned_job_no_worker(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queued, dead = runs.create("evaluate", {"models": ["all"]}), runs.create("train", {})
    runs.update(dead.run_id, status="running", pid=2**22 + 1)
    monkeypatch.setenv(read_only.VARIABLE, "1")
    before = tree(home), psutil.Process().children()
    assert {run.run_id for run in local.reconcile()} == {queued.run_id, dead.run_id}
    assert (tree(home), psutil.Process().children()) == before
    monkeypatch.delenv(read_only.VARIABLE)
    monkeypatch.setattr(local, "_start_worker", lambda run, descriptor: None)
    local.reconcile()
    assert runs.read(dead.run_id).status == "failed", "outside read-only mode it is mended"


def test_the_blind_arena_takes_votes_and_takes_them_back(demo: None) -> None:
    round_id = sample.arena().run_id
    sheet = arena.next_pair(round_id, "Eve")
    assert sheet and arena.vote(round_id, "Eve", sheet.pair, "left")
    assert arena.undo(round_id, "Eve", sheet.pair) and arena.standing(round_id, "Eve").done == 0


def test_votes_are_limited_for_all_together(demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    round_id = sample.arena().run_id
    monkeypatch.setattr(read_only, "_votes", rates.Rates(2))
    pair = arena.next_pair(round_id, "Eve").pair  # type: ignore[union-attr]
    for name in ("Eve", "Fay"):
        assert arena.vote(round_id, name, pair, "tie")
    with pytest.raises(UserError, match=r"Visitors together may have 2 votes a minute. Try again in \d+ s"):
        arena.vote(round_id, "Gus", pair, "tie")
    monkeypatch.setattr(read_only, "LARGEST_VOTES_MB", 0)
    with pytest.raises(UserError, match="all that this demo takes"):
        arena.vote(round_id, "Hal", pair, "tie")


def test_a_folder_that_takes_no_votes_is_a_persons_to_mend(home: Path) -> None:
    (home / "results").mkdir()
    (home / "results" / "a-round").write_text("no folder")
    with pytest.raises(UserError, match="can't be written or read"), votes.appending("a-round"):
        pass


def test_answers_are_short_few_and_not_too_many_a_minute(demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        playground.longest(DrawingConfig(max_tokens=8192)) == read_only.LONGEST_ANSWER == playground.longest(DrawingConfig(preset="longer"))
    )
    assert playground.longest(DrawingConfig(max_tokens=5)) == 5
    with pytest.raises(UserError, match="8,001 characters, more than this demo's 8,000"), read_only.answering(8001):
        pass
    monkeypatch.setattr(read_only, "_places", threading.BoundedSemaphore(1))
    with (
        read_only.answering(10),
        pytest.raises(UserError, match="answers are being written for visitors already"),
        read_only.answering(10),
    ):
        pass
    monkeypatch.setattr(read_only, "_answers", rates.Rates(1))
    with read_only.answering(10):
        pass
    for _ in range(3):  # one that is refused gives its place back
        with pytest.raises(UserError, match="Visitors together may have 1 answers a minute"), read_only.answering(10):
            pass


def test_outside_read_only_mode_nothing_is_limited() -> None:
    assert playground.longest(DrawingConfig(max_tokens=8192)) == 8192
    with read_only.answering(10**9):
        read_only.voting(10**12)


def test_nothing_that_the_engine_is_made_of_can_start_a_job() -> None:
    for file in (HERE / "core" / "serve").rglob("*.py"):
        assert not re.search(r"jobs\.(local|worker)|jobs import .*\b(local|worker)\b|local\.submit", file.read_text()), file


def test_the_lock_of_a_run_is_free_after_a_refusal(demo: None) -> None:
    run = sample.train("failed", error="out of memory")
    with pytest.raises(UserError):
        local.resume(run.run_id)
    assert not locks.held(run.run_id)
