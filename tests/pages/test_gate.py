"""The gate on a real server: no page shows anything to who has not come in, by a password or an account of a provider."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core import access, read_only
from tests.pages import sample
from tests.pages.browsing import App
from tests.pages.provider import provider
from tests.pages.test_read_only import FILES, PAGES, address
from tests.pages.visitor import Seen, Visitor, pressed, typed, uploaded

WORD = "Größe 秘密"
DATA = ("Perplexity", "cynic", "SmolLM2", "evaluate-", "LoRA")
"""What stands on some page of a home with results."""
ROWS = b"question,answer\nWhy?,Because.\n"


@pytest.fixture(scope="module")
def shut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, Path, Path]]:
    """An app behind a password, what it says to its terminal, and its home."""
    home, log = tmp_path_factory.mktemp("shut"), tmp_path_factory.mktemp("log") / "app.log"
    with pytest.MonkeyPatch.context() as environment, log.open("wb") as said:
        environment.setenv("LYCEUM_HOME", str(home))
        sample.everything()
        environment.setenv(access.PASSWORD, WORD)
        app = App.start("--logger.level", "debug", said=said)
    app.wait()
    yield app, log, home
    app.end()


def closed(seen: Seen) -> bool:
    """Whether there is nothing but the gate."""
    kinds = sorted(seen.widgets.values())
    return kinds == ["button", "text_input"] and not any(word in seen.text for word in DATA)


def test_every_page_is_behind_the_password(shut: tuple[App, Path, Path]) -> None:
    app, log, home = shut
    visitor = Visitor.of(app.address)
    assert closed(visitor.open("jobs")), "the first address that a fresh server is asked for"
    for page in PAGES:
        assert closed(visitor.open(address(page), inside="1", job="x", **{"gate.passed": "True"})), page

    visitor.put("early", "early.csv", ROWS)
    gate = visitor.open("evaluate", metric="bleu")
    box, button = gate.widget("gate.password"), next(widget for widget, kind in gate.widgets.items() if kind == "button")
    wrong = visitor.open("evaluate", [typed(box, "XYZZY-wrong"), pressed(button)], metric="bleu")
    assert closed(wrong) and "This is not the password" in wrong.text and "XYZZY" not in wrong.text

    seen = visitor.open("evaluate", [typed(box, WORD), pressed(button)], metric="bleu")
    assert "Answers side by side" in seen.text and "bleu of every model" in seen.text, "the link brought its state along"
    assert WORD not in seen.text.encode().decode("unicode_escape", "replace") and "Leave" in seen.text
    assert "Answers side by side" in visitor.open("evaluate").text, "who came in stays in"
    visitor.put("late", "late.csv", ROWS)
    uploader = next(widget for widget, kind in visitor.open("data").widgets.items() if kind == "file_uploader")
    sent = {name: visitor.open("data", [uploaded(uploader, name, f"{name}.csv", len(ROWS))]).text for name in ("early", "late")}
    assert "Kept as" not in sent["early"] and "Kept as" in sent["late"], "the server keeps files of who came in, and no others"
    assert closed(Visitor.of(app.address).open("evaluate")), "another session did not come in"
    assert closed(visitor.open("", [pressed(seen.widget("gate.leave"))])) and closed(visitor.open("evaluate"))

    forged = Visitor.of(app.address).open("jobs", [typed("forged", "x")])
    assert "not made by this page" in forged.text and "stack_trace" not in forged.text and not forged.widgets

    app_said = log.read_text(errors="replace")
    assert WORD not in app_said and "XYZZY" not in app_said and "秘密".encode().decode("latin-1") not in app_said
    assert not [file for file in home.rglob("*") if file.is_file() and WORD.encode() in file.read_bytes()]


def test_guessing_is_slow_over_all_sessions(shut: tuple[App, Path, Path]) -> None:
    app, _, _ = shut
    seen, visitors = [], [Visitor.of(app.address) for _ in range(2)]
    gates = [visitor.open("serve") for visitor in visitors]
    button = next(widget for widget, kind in gates[0].widgets.items() if kind == "button")
    for guess in range(access.TRIES_PER_MINUTE + 2):
        tried = [typed(gates[0].widget("gate.password"), f"guess {guess}"), pressed(button)]
        seen.append(visitors[guess % 2].open("serve", tried))
    assert all(map(closed, seen)) and all("passwords were tried in a minute" in each.text for each in seen[-2:])


def test_what_a_page_runs_before_the_gate_is_nothing() -> None:
    """Streamlit runs a file of pages/ alone when its address is the first that a fresh server is asked for."""
    for file in FILES:
        before = file.read_text().partition("\nframe.enter()\n")[0]
        lines = [line for line in before.splitlines() if re.match(r"(st|parts|queries|runs)\.", line)]
        assert not lines, (file.name, lines)


def test_people_of_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.evaluate()
    secrets, person = tmp_path / "secrets.toml", {"email": "eve@elsewhere.org", "email_verified": True}
    monkeypatch.setenv(access.USERS, "@lab.org")
    monkeypatch.setenv(read_only.VARIABLE, "1")
    with provider("lyceum", person) as there:
        secrets.write_text(
            '[auth]\nredirect_uri = "http://127.0.0.1:{port}/oauth2callback"\ncookie_secret = "a-secret-of-the-tests-alone"\n'
            f'client_id = "lyceum"\nclient_secret = "s"\nserver_metadata_url = "{there}/.well-known/openid-configuration"\n'
        )
        app = App.start("--secrets.files", str(secrets))
        app.wait()
        stranger = Visitor.of(app.address)
        for page in ("", "jobs", "evaluate", "playground"):
            seen = stranger.open(page)
            assert list(seen.widgets.values()) == ["button"] and not any(word in seen.text for word in DATA), page

        eve = Visitor.of(app.address, signed_in(app, stranger)).open("evaluate")
        assert "may not use this app. Ask its owner" in eve.text.replace("\\", "") and not any(word in eve.text for word in DATA)
        person["email"] = "ann@lab.org"
        ann = Visitor.of(app.address, signed_in(app, stranger)).open("evaluate")
        assert "Answers side by side" in ann.text and "gate.logout" in str(list(ann.widgets))
        app.end()


def signed_in(app: App, visitor: Visitor) -> dict[str, str]:
    """The cookies of who pressed the button and came back from the provider."""
    gate = visitor.open("jobs")
    seen = visitor.open("jobs", [pressed(gate.widget("gate.login"))])
    where = next(message.auth_redirect.url for message in seen.messages if message.WhichOneof("type") == "auth_redirect")
    with httpx.Client(base_url=app.address, trust_env=False, follow_redirects=True) as asking:
        asking.get("/_stcore/health")
        asking.get(where)
        return dict(asking.cookies)
