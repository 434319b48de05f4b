"""vLLM's process is watched: real child processes, which die, stay silent, or would outlive us. The stand-in plays vLLM's part."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from core.serve.vllm import watched
from core.serve.vllm.command import Command
from core.serve.vllm.watched import Watched
from tests.core.serve.conftest import until
from tests.core.serve.vllm.conftest import STANDIN, lines


@pytest.fixture
def watch(tiny_base, standin, tmp_path, monkeypatch):
    """`watch(warm)`: a stand-in under watch. Its pauses are short."""
    monkeypatch.setattr(watched, "PAUSES", (0.1, 0.2))
    monkeypatch.setattr(watched, "ASK_SECONDS", 0.5)
    made, said = [], []

    def command():
        socket = tmp_path / f"{len(said)}.sock"
        words = (sys.executable, "-S", str(STANDIN), "--model", str(tiny_base), "--uds", str(socket), "--max-lora-rank", "8")
        return Command(words, {**os.environ, "VLLM_API_KEY": "k"}, socket, "k", 8, 1)

    def start(warm=lambda _: None):
        found = Watched(command, warm, lambda: "ready", tmp_path / "log", said.append)
        found.told = said
        made.append(found)
        found.begin()
        return found

    yield start
    for each in made:
        each.end()


def pids(standin):
    return [each["pid"] for each in lines(standin / "started.jsonl")]


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_starts_is_ready_and_ends_gracefully(watch, standin):
    found = watch()
    assert found.state == "starting" and "vLLM is starting: " in found.said
    assert found.wait(10) and found.said == "vLLM answers." and found.restarts == 0
    assert len(found.processes) >= 3, "we, its keeper and it"
    found.end()
    assert found.state == "ending" and (standin / "ended_well").exists() and gone(pids(standin)[0])


def test_a_killed_one_is_started_again_and_says_why(watch, standin):
    found = watch()
    assert found.wait(10)
    for times in (1, 2):
        os.kill(pids(standin)[-1], signal.SIGKILL)
        until(lambda: found.restarts == times and found.state == "ready")  # noqa: B023
        assert len(pids(standin)) == times + 1
    assert found.said == "vLLM answers. It was started again 2 times, last when it was killed (SIGKILL)."
    assert any("was killed (SIGKILL). It starts again in" in line for line in found.told)


def test_a_killed_keeper_takes_it_along(watch, standin):
    found = watch()
    assert found.wait(10)
    first = pids(standin)[0]
    os.kill(psutil.Process(first).ppid(), signal.SIGKILL)
    until(lambda: gone(first) and found.restarts == 1 and found.state == "ready")


def test_a_crash_at_the_start_says_the_last_error_and_the_pause_grows(watch, standin):
    (standin / "crash").touch()
    found = watch()
    until(lambda: found.restarts >= 3)
    assert found.state == "restarting"
    why = "vLLM ended with status 1 while it was starting: RuntimeError: Engine core initialization failed. It starts again in "
    assert found.told[0].startswith(why) and len(pids(standin)) == found.restarts
    (standin / "crash").unlink()
    assert found.wait(10), "what is mended starts"


def test_a_silent_one_and_a_sick_one_are_ended(watch, standin, monkeypatch):
    monkeypatch.setattr(watched, "SILENT_SECONDS", 1.0)
    found = watch()
    assert found.wait(10)
    (standin / "mute").touch()
    until(lambda: found.restarts == 1)
    assert "did not answer for" in found.said
    (standin / "mute").unlink()
    assert found.wait(10)
    (standin / "sick").touch()
    until(lambda: found.restarts == 2)
    assert "was not well any more (status 503)" in found.said


def test_one_that_fails_at_its_first_answer_is_not_ready(watch):
    def warm(_):
        raise ValueError("no tokens")

    found = watch(warm)
    until(lambda: found.restarts >= 1)
    assert "started, and failed at its first answer (no tokens): " in found.said and found.state == "restarting"


def test_a_stubborn_one_is_killed_after_its_grace(watch, standin, monkeypatch):
    monkeypatch.setattr(watched, "GRACE_SECONDS", 0.5)
    (standin / "stubborn").touch()
    found = watch()
    assert found.wait(10)
    began = time.monotonic()
    found.end()
    assert gone(pids(standin)[0]) and not (standin / "ended_well").exists() and time.monotonic() - began < 5


def test_it_does_not_outlive_us_when_we_are_killed(tiny_base, standin, tmp_path):
    """We are a process of our own here, killed with SIGKILL; a helper process of vLLM's goes too."""
    ours = f"""
import os, sys, time
from pathlib import Path
from core.serve.vllm.command import Command
from core.serve.vllm.watched import Watched
socket = Path({str(tmp_path / "s.sock")!r})
shell = "sleep 300 & exec {sys.executable} -S {STANDIN} --model {tiny_base} --max-lora-rank 8 --uds " + str(socket)
command = Command(("/bin/sh", "-c", shell), {{**os.environ, "VLLM_API_KEY": "k"}}, socket, "k", 8, 1)
watched = Watched(lambda: command, lambda _: None, lambda: "ready", Path({str(tmp_path / "log")!r}), print)
watched.begin()
assert watched.wait(20)
print([each.pid for each in watched.processes[1:]], flush=True)
time.sleep(300)
"""
    us = subprocess.Popen([sys.executable, "-c", ours], stdout=subprocess.PIPE, text=True)
    assert us.stdout
    children = next(line for line in us.stdout if line.startswith("["))
    found = [int(each) for each in children.strip("[]\n").split(",")]
    assert len(found) == 3, "keeper, server and its helper"
    us.kill()
    us.wait()
    until(lambda: all(gone(pid) for pid in found))
