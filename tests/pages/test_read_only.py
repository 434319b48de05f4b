"""The app in read-only mode: no page has a widget that acts, and no message to its server does anything.

The attack: what can be pressed in an ordinary app is collected, and pressed in a read-only one over the same home, which never showed
it; beside it files sent to the server's address for uploads, and links that name files of the machine.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from core import paths, read_only, runs
from core.jobs import locks
from core.judge import votes
from core.verbs import VERBS
from core.verdict_table import VerdictTable
from tests.core.test_read_only import tree
from tests.pages import sample, sample_rag
from tests.pages.browsing import App
from tests.pages.conftest import APP, Open
from tests.pages.test_pages import words
from tests.pages.visitor import Seen, Visitor, pressed, uploaded

FILES = (APP.parent / "pages").glob("*.py")
PAGES = sorted(file.stem for file in FILES if re.search(r"^frame\.enter\(\)$", file.read_text(), re.MULTILINE))
ACTING = ("button", "file_uploader", "text_area", "chat_input", "camera_input", "audio_input", "data_editor")
LOOKS = ("playground.", "arena.name", "undo-", "open-", "theme-", "read-disagreements")
"""Keys of the buttons that stay: they turn to something, or belong to the playground and the arena."""
CONTENT = b"question,answer,category\nWhy?,Because of XYZZY.,law\n"


def acting(widgets: dict[str, str]) -> list[str]:
    """Keys of the widgets (kind by id) by which something could be started, kept, changed or removed: an id ends in its key."""
    keys = {widget.split("-", 2)[2]: kind for widget, kind in widgets.items()}
    forms = tuple(f"{verb}." for verb in (*VERBS, "serve", "ask", "play", "start"))
    return [key for key, kind in keys.items() if not key.startswith(LOOKS) and (kind in ACTING or key.startswith(forms))]


def address(page: str) -> str:
    return "" if page == "overview" else page


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, Path, dict[str, str]]]:
    """A read-only app; the home that it looks at, with jobs that wait and run; and the ids of a waiting and a running job."""
    home = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", str(home))
        sample.everything()
        sample.arena()
        sample_rag.compare()
        sample.train("failed", error="out of memory")
        jobs = {"queued": runs.create("evaluate", {"models": ["all"]}).run_id, "running": sample.train("running").run_id}
        held = [locks.take(run_id) for run_id in jobs.values()]
        environment.setenv(read_only.VARIABLE, "1")
        app = App.start()
    app.wait()
    yield app, home, jobs
    app.end()
    for descriptor in held:
        os.close(descriptor)


def test_the_server_does_nothing_whatever_it_is_sent(
    demo: tuple[App, Path, dict[str, str]], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, home, _ = demo
    monkeypatch.setenv("LYCEUM_HOME", str(home))
    ordinary, at = {}, open_page("jobs")
    for page in sorted(PAGES, key="merge".__ne__):  # merge first: AppTest takes what other pages bind to the address along
        at.switch_page(f"pages/{page}.py").run()
        assert not at.exception, page
        ordinary |= {each.proto.id: each.type for kind in ("button", "file_uploader") for each in at.get(kind)}
    ended = runs.listing("train", status="failed")[0].run_id
    ordinary |= {each.proto.id: each.type for each in open_page("jobs", job=ended).button}
    hidden = {widget: kind for widget, kind in ordinary.items() if acting({widget: kind})}
    assert {"submit", "remove", "resume", "cancel", "vote-tie"} <= {widget.rpartition(".")[2].split("-", 2)[-1] for widget in hidden}
    assert len(hidden) > 12 and "file_uploader" in hidden.values(), "the ordinary app has much to press"

    before, visitor = tree(home), Visitor.of(app.address)
    assert set(visitor.open("playground").widgets) & set(ordinary), "both apps know a button by the same id"
    assert {visitor.put("crafted", "crafted.csv", content) for content in (CONTENT, b"")} == {413}, "the server takes no file"
    pressing = [pressed(widget) for widget, kind in hidden.items() if kind == "button"]
    sending = [uploaded(widget, "crafted", "crafted.csv", len(CONTENT)) for widget, kind in hidden.items() if kind == "file_uploader"]
    for page in PAGES:
        seen = visitor.open(address(page), pressing + sending)
        assert acting(seen.widgets) == [] and not set(seen.widgets) & set(hidden), page
        assert "Read-only" in seen.text and "Traceback" not in seen.text, page
    assert tree(home) == before, "nothing was written"
    assert not psutil.Process(app.process.pid).children(recursive=True), "no process was started"


def test_views_behind_a_choice_have_nothing_to_press(demo: tuple[App, Path, dict[str, str]]) -> None:
    app, home, jobs = demo
    before, visitor = tree(home), Visitor.of(app.address)
    seen: list[Seen] = [visitor.open("jobs", job=run_id) for run_id in jobs.values()]
    seen += [visitor.open("judge", look=look) for look in ("people", "themes", "best and worst", "another run")]
    assert [acting(each.widgets) for each in seen] == [[]] * 6
    assert jobs["running"] in seen[1].text and tree(home) == before


def test_a_press_of_a_button_that_is_there_is_heard(demo: tuple[App, Path, dict[str, str]]) -> None:
    """The way in which the attack presses works."""
    visitor = Visitor.of(demo[0].address)
    seen = visitor.open("arena", reviewer="Eve")
    assert "You vote as **Eve**" in seen.text and any("arena-sheet" in widget for widget in seen.widgets)
    change = next(widget for widget, kind in seen.widgets.items() if kind == "button")
    assert "Your name" in visitor.open("arena", [pressed(change)], reviewer="Eve").text


def test_no_link_starts_anything_or_shows_a_file_of_the_machine(demo: tuple[App, Path, dict[str, str]], tmp_path: Path) -> None:
    app, home, _ = demo
    secret = tmp_path / "secret.csv"
    secret.write_bytes(CONTENT)
    before, visitor = tree(home), Visitor.of(app.address)
    links = {
        "start": {"data": str(secret), "size": "small"},
        "merge": {"adapters": "cynic-lora,hacker-lora", "data": str(secret), "question": "Why?", "category": "law"},
        "jobs": {"job": "../../../etc", "status": "running"},
        "playground": {"model": "base", "question": "Why?", "max_tokens": "8000"},
        "data": {"data_run": "../../etc/passwd"},
        "arena": {"round": "../..", "reviewer": "<b>Eve</b>"},
        "judge": {"open": "-1", "page": "999", "look": "nothing"},
        "share": {"report": "../../etc/passwd"},
        "evaluate": {"export": "/etc/passwd", "evaluation": "../.."},
    }
    for page, query in links.items():
        said = visitor.open(page, **query).text
        assert "XYZZY" not in said and "root:" not in said and "Traceback" not in said, page
    assert tree(home) == before and not psutil.Process(app.process.pid).children(recursive=True)


def test_the_server_has_no_other_way_in(demo: tuple[App, Path, dict[str, str]]) -> None:
    app, home, _ = demo
    before = tree(home)
    with httpx.Client(base_url=app.address, trust_env=False) as asking:
        for path in ("/_stcore/agent/interact", "/_stcore/agent/mcp", "/_stcore/upload_file/none/none", "/jobs"):
            assert asking.post(path, json={"page": "data"}).status_code >= 400, path
    assert tree(home) == before


def test_an_empty_demo_has_no_button_that_begins(open_page: Open, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert acting({each.proto.id: "button" for each in open_page("overview").button}), "the ordinary app has one"
    monkeypatch.setenv(read_only.VARIABLE, "1")
    at = open_page("jobs")
    for page in PAGES:
        at.switch_page(f"pages/{page}.py").run()
        assert not at.exception and not at.error, (page, [each.value for each in (*at.exception, *at.error)])
        assert acting({each.proto.id: "button" for each in at.button}) == [], page
    assert not (home / "results").exists()


def test_a_button_that_was_drawn_before_says_why_nothing_happens(open_page: Open, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_page("data")
    monkeypatch.setenv(read_only.VARIABLE, "1")
    monkeypatch.setattr("pages.parts.action", lambda label, **given: True)
    at.run()
    assert "Starting a job is off: this is a read-only demo" in words(at) and not (home / "results").exists()


def test_strangers_read_neither_names_nor_folders_nor_keys(open_page: Open, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.evaluate()
    judged = sample.judge()
    asked = {**judged.config, "base_url": "http://ada:secret99@judge.example/v1?key=1", "data": "/srv/ada/my.csv"}
    runs.update(judged.run_id, config=asked)
    votes.vote_openly(dict(VerdictTable.opened(judged.path / "verdicts.csv").row(0)), "Ada Lovelace", "tie")

    def told() -> dict[str, str]:
        shown = {"overview": words(open_page("overview")), "people": words(open_page("judge", look="people", open="0"))}
        return shown | {"settings": open_page("jobs", job=judged.run_id).json[0].value}

    owners = told()
    assert str(home) in owners["overview"], "the owner reads it"
    assert "Ada Lovelace" in owners["people"]
    assert '"http://judge.example/v1"' in owners["settings"] and "secret99" not in owners["settings"]
    monkeypatch.setenv(read_only.VARIABLE, "1")
    strangers = told()
    assert f"Folder: {paths.results().name}" in strangers["overview"] and "reviewer 1" in strangers["people"]
    for page, text in strangers.items():
        assert not [word for word in (str(home), "Ada", "/srv", "secret99", "key=1") if word in text], page
