"""The app on test material: no results, finished ones, a job under way (its lock held, as a worker would), and a failed one."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import runs
from core.jobs import local, locks
from tests.pages import sample, sample_rag, tiny_mix

APP = Path(__file__).resolve().parents[2] / "streamlit_app.py"
PAGES = (
    *("overview", "start", "data", "train", "merge", "evaluate", "judge"),
    *("arena", "rag", "claims", "playground", "serve", "jobs", "guide"),
)
TITLES = {"overview": "Lyceum", "rag": "RAG"}
"""Of the pages whose title isn't their name."""
FAULT = "Dataset 'none.jsonl' can't be read: there is no such file. Give a path that exists."

Open = Callable[..., AppTest]


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open a page of the app, with query parameters. Jobs that it submits stay queued: no worker starts."""
    monkeypatch.setattr(local, "_start_worker", lambda run, descriptor: None)

    def open_(name: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(APP), default_timeout=120)
        for key, value in query.items():
            at.query_params[key] = value
        return at.switch_page(f"pages/{name}.py").run()

    return open_


@pytest.fixture(scope="module")
def engine_home(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_data: Path) -> Iterator[Path]:
    """A home with four adapters and an engine that runs as long as this file's tests."""
    with tiny_mix.home_with_engine(tmp_path_factory.mktemp("engine"), tiny_base, tiny_data) as home:
        yield home


@pytest.fixture
def live(engine_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's LYCEUM_HOME is the one with the engine."""
    monkeypatch.setenv("LYCEUM_HOME", str(engine_home))
    return engine_home


@pytest.fixture(params=["empty", "full", "running", "failed"])
def state(request: pytest.FixtureRequest) -> Iterator[str]:
    """LYCEUM_HOME in each of the states that a page can meet."""
    held = []
    if request.param in ("full", "running"):
        sample.everything()
        sample_rag.compare()
    if request.param == "running":
        queued = runs.create("evaluate", {"models": ["all"]})
        held = [locks.take(run.run_id) for run in (sample.train("running"), queued)]
    if request.param == "failed":
        sample.train("failed", error=FAULT)
    yield request.param
    for descriptor in held:
        os.close(descriptor)
