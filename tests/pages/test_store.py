"""The app whose home is a store: what another machine made is shown, and a store that is away is said and hurts no page."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import runs, store
from core.store import incoming, running
from tests.pages import sample
from tests.pages.conftest import PAGES, TITLES, Open


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A shared folder with finished results of another machine and a run that goes on there; this machine has seen them."""
    share = tmp_path / "share"
    share.mkdir()
    monkeypatch.setenv("LYCEUM_HOME", f"file://{share}")
    monkeypatch.setenv("LYCEUM_WORK", str(tmp_path / "one"))
    monkeypatch.setattr("platform.node", lambda: "gpu-box")
    sample.everything()
    running.rest()
    running.bring_up(sample.train("running").run_id)
    monkeypatch.setenv("LYCEUM_WORK", str(tmp_path / "two"))
    monkeypatch.setattr("platform.node", lambda: "laptop")
    assert incoming.fetch() == []
    yield share
    with store._looking:  # a look that is under way would go on in another home
        pass


@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_what_another_machine_made(page: str, shared: Path, open_page: Open) -> None:
    at = open_page(page)
    assert not at.exception
    assert at.title[0].value == TITLES.get(page, page.capitalize()) or page == "overview"


def test_a_run_of_another_machine_is_shown_with_its_name_and_not_taken_for_dead(shared: Path, open_page: Open) -> None:
    (run,) = runs.listing(status="running")
    at = open_page("jobs", job=run.run_id)
    assert any(f"{run.run_id} on gpu-box" in caption.value for caption in at.caption)
    next(button for button in at.button if button.label == "Cancel").click().run()
    assert any("is on the machine gpu-box, so it can't be cancelled" in error.value.replace("\\", "") for error in at.error)
    assert runs.read(run.run_id).status == "running"


def test_a_store_that_is_away_is_said_and_pages_show_what_is_here(shared: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.rename(shared.with_name("unmounted"))
    monkeypatch.setattr(store, "_looked", float("-inf"))
    store.refresh()
    until = time.monotonic() + 20
    while not store.refresh():
        assert time.monotonic() < until
        time.sleep(0.05)
    at = open_page("evaluate")
    assert not at.exception
    assert any("There is no folder" in caption.value for caption in at.sidebar.caption)
    assert len(runs.listing()) > 3
