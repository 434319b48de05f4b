"""The engine's process: found, started once, ended, and gone when it is killed."""

import errno
import json
import os
import signal
import socket
import threading

import pytest

from core import paths
from core.__main__ import main
from core.config import ServeConfig
from core.errors import UserError
from core.serve import client, resident
from tests.core.serve.conftest import together, until


@pytest.fixture(autouse=True)
def ended(home):
    yield
    resident.stop()


def test_no_engine_is_none(capsys):
    assert resident.find() is None and resident.stop() is False
    assert main(["serve", "--stop"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run_id": None, "status": "done", "outputs": {"stopped": False}}


def test_started_once_found_again_killed_and_started_again(tiny_base, capsys):
    config = ServeConfig(base_model=str(tiny_base), device="cpu")
    found = []
    starters = [threading.Thread(target=lambda: found.append(resident.start(config))) for _ in range(2)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert found[0] == found[1] == resident.find() == resident.start(config)
    assert found[0].address.startswith("http://127.0.0.1:") and client.health(found[0])["base_model"] == str(tiny_base)
    with pytest.raises(UserError, match="An engine on base model '.*' runs already"):
        resident.start(ServeConfig(base_model="another"))
    assert main(["serve", "--detach", "--base_model", str(tiny_base), "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"]["pid"] == found[0].pid
    assert main(["serve", "--base_model", str(tiny_base)]) == 2
    assert "This home has an engine already" in capsys.readouterr().err

    os.kill(found[0].pid, signal.SIGKILL)
    until(lambda: resident.find() is None)
    with pytest.raises(UserError, match="The engine does not answer any more"):
        client.health(found[0])
    again = resident.start(config)
    assert again.pid != found[0].pid
    events = client.answers(again, "s", [{"key": "a", "question": "Why?"}], max_new_tokens=900)
    first = next(events)["text"]
    stopping = threading.Thread(target=resident.stop)
    stopping.start()
    assert len(first + together(events)["a"]) > 900, "an answer under way is finished"
    stopping.join()
    assert resident.find() is None and not (paths.results() / ".engine.json").exists()


def test_beyond_its_grace_answers_break_off(tiny_base):
    engine = resident.start(ServeConfig(base_model=str(tiny_base), device="cpu", grace_seconds=0.2))
    events = client.answers(engine, "s", [{"key": "a", "question": "Why?"}], max_new_tokens=1000)
    next(events)
    assert resident.stop()
    with pytest.raises(UserError, match="The engine was ended"):
        together(events)
    assert resident.find() is None


def test_what_keeps_it_from_starting_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"The engine did not start. Port {port} of 127.0.0.1 can't be used .*Choose another"):
            resident.start(ServeConfig(port=port))
    assert resident.find() is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "--port", "99999"], "port=99999 can't be used"),
        (["serve", "--colour", "red"], "Unknown field '--colour' for serve. Choose among: --engine, --base_model, "),
        (["serve", "--stop", "--detach"], "not allowed with argument"),
    ],
)
def test_wrong_words_get_one_sentence(capsys, words, said):
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_a_full_disk_is_named_and_nothing_is_left(home, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    paths.results().mkdir(exist_ok=True)
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"engine.json can't be written or read: No space left on device"):
        patch.setattr("core.serve.resident.json.dump", full)
        resident.announce(resident.Engine("http://127.0.0.1:1", 7, "tiny", ""))
    assert not list(paths.results().glob(".engine.json*"))
    resident.log().write_text("")
    monkeypatch.setattr(resident, "_launch", lambda _: True)
    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(UserError, match=r"did not start\. .*engine.log can't be written or read: No space left on device"):
        resident.start()
