"""`python -m core chat` as a person types it (a pseudo-terminal) and as a script calls it, on an engine with a tiny base."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from core import paths, playground
from core.config import DrawingConfig
from core.playground import Play, fold
from core.serve import resident
from tests.pages import tiny_mix

GREEDY = ("--temperature", "0", "--max_tokens", "8")
MIX = "mix:cynic-lora=0.5,lexicon-lora=0.7"


@pytest.fixture(scope="module")
def engine_home(tmp_path_factory, tiny_base, tiny_data):
    """A home with adapters and an engine that runs as long as this file's tests."""
    with tiny_mix.home_with_engine(tmp_path_factory.mktemp("engine"), tiny_base, tiny_data) as home:
        yield home


@pytest.fixture
def live(engine_home, monkeypatch):
    monkeypatch.setenv("LYCEUM_HOME", str(engine_home))


def chat(*words, said="", **more):
    """Run `python -m core chat ...` with this standard input; (exit status, what stands before the last line, the JSON, errors)."""
    words = [sys.executable, "-m", "core", "chat", *words]
    done = subprocess.run(words, cwd=paths.PROJECT, capture_output=True, text=True, timeout=90, input=said, **more)
    *lines, last = done.stdout.splitlines()
    return done.returncode, "\n".join(lines), json.loads(last), done.stderr


def answers(*questions, model="base", system="", tokens=8):
    """What the engine answers."""
    play = Play(questions=questions, system_prompt=system, drawing=DrawingConfig(temperature=0, max_tokens=tokens))
    found = fold([], list(playground.stream(resident.find(), play, model, {})), len(questions))
    return [answer.text for answer in found]


def test_an_instruction_is_answered_and_the_last_line_is_json(live):
    status, text, answer, errors = chat("--instruction", "Why is that so?", "--model", MIX, "--system_prompt", "Be terse.", *GREEDY)
    (expected,) = answers("Why is that so?", model=MIX, system="Be terse.")
    assert (status, text) == (0, expected.rstrip("\n")) and errors == ""
    assert answer == {
        "run_id": None,
        "status": "done",
        "outputs": {"model": MIX, "answer": expected, "finish_reason": "length", "tokens": 8},
    }


def test_an_adapter_gets_the_system_prompt_of_its_training_unless_told_otherwise(live):
    words = ("--instruction", "Why?", "--model", "cynic-lora", *GREEDY)
    assert chat(*words)[2]["outputs"]["answer"] == answers("Why?", model="cynic-lora", system="Answer as a cynic.")[0]
    assert chat(*words, "--system_prompt", "")[2]["outputs"]["answer"] == answers("Why?", model="cynic-lora")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "nobody", "--instruction", "Why?"], "The engine offers no model 'nobody'. Choose one of: base, cynic-lora"),
        (["--model", "mix:cynic-lora=much"], "The weight 'much'"),
        (["--model", "mix:nobody=1"], "no model 'nobody'"),
        (["--instruction", ""], "The instruction is empty"),
        (["--instruction", "Why?", "--demo"], "instruction and demo were both given"),
        (["--temperature", "7", "--instruction", "Why?"], "temperature=7 can't be used"),
        (["--preset", "wild", "--instruction", "Why?"], "preset=wild can't be used"),
        (["--wheels", "4"], "Unknown field '--wheels' for chat"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence_and_exit_2(live, words, said):
    status, text, answer, errors = chat(*words)
    assert (status, text, answer["status"]) == (2, "", "failed") and said in answer["error"]
    assert said in errors and "Traceback" not in errors


def test_piped_lines_are_questions_of_one_conversation(live):
    status, text, answer, errors = chat(*GREEDY, said="Who are you?\n\n  And then?\n")
    assert (status, answer["outputs"]) == (0, {"model": "base", "questions": 2})
    assert text == "\n".join(answers("Who are you?", "And then?"))
    status, text, answer, _ = chat(*GREEDY, said="Who are you?\n/reset\n/model cynic-lora\n/nonsense\nWho are you?\n/exit\nNever asked\n")
    (base,) = answers("Who are you?")
    (own,) = answers("Who are you?", model="cynic-lora", system="Answer as a cynic.")
    assert (text, answer["outputs"]) == (f"{base}\n{own}", {"model": "cynic-lora", "questions": 2})


def test_the_demo_lets_base_and_the_model_answer_general_prompts_and_its_own_category(live):
    status, text, answer, _ = chat("--demo", "--model", "cynic-lora", *GREEDY)
    outputs = answer["outputs"]
    assert (status, outputs["models"]) == (0, ["base", "cynic-lora"])
    assert [each["category"] for each in outputs["answers"]] == [""] * 5 + ["cynic"] * 2 and outputs["prompts"] == 7
    for each in outputs["answers"]:
        system = "Answer as a cynic." if each["category"] else ""
        assert each["answers"] == {name: answers(each["question"], model=name, system=system)[0] for name in ("base", "cynic-lora")}
    assert text.count("--- base") == text.count("--- cynic-lora") == 7 and "[general]" in text and "[cynic]" in text


class Terminal:
    """A person at a terminal."""

    def __init__(self, *words):
        self.screen, (self.hand, theirs) = "", pty.openpty()
        heed = "import signal, sys; from core.__main__ import main; signal.signal(signal.SIGINT, signal.default_int_handler); main()"
        command = [sys.executable, "-c", heed, "chat", *words]
        self.process = subprocess.Popen(command, cwd=paths.PROJECT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)

    def type(self, line):
        self.screen = ""
        os.write(self.hand, f"{line}\n".encode())

    def until(self, what, seconds=60):
        """Read on until the screen shows this."""
        end = time.monotonic() + seconds
        while not what(self.screen.replace("\r\n", "\n")):
            assert time.monotonic() < end, f"the screen shows {self.screen!r}"
            if select.select([self.hand], [], [], 0.2)[0]:
                with suppress(OSError):
                    self.screen += os.read(self.hand, 4096).decode(errors="replace")
        return self.screen.replace("\r\n", "\n")


@pytest.fixture
def terminal(live):
    opened = []

    def open_(*words):
        opened.append(Terminal(*words))
        return opened[-1]

    yield open_
    for each in opened:
        each.process.kill()
        each.process.wait()
        os.close(each.hand)


def test_a_talk_at_a_terminal(terminal):
    typed = terminal("--max_tokens", "8", "--temperature", "0", "--system_prompt", "none")
    typed.until(lambda screen: "base answers." in screen and "/exit" in screen and screen.endswith("> "))
    first, second = answers("Who are you?", "And then?")
    typed.type("Who are you?")
    assert first in typed.until(lambda screen: screen.endswith("\n> "))
    typed.type("And then?")
    assert second in typed.until(lambda screen: screen.endswith("\n> ")), "the second knows the first"
    typed.type("/reset")
    typed.until(lambda screen: "Begun anew." in screen and screen.endswith("> "))
    typed.type("/model nobody")
    typed.until(lambda screen: "no model 'nobody'" in screen and screen.endswith("> "))
    typed.type("/model cynic-lora")
    typed.until(lambda screen: "cynic-lora answers." in screen and screen.endswith("> "))
    typed.type("Who are you?")
    assert answers("Who are you?", model="cynic-lora")[0] in typed.until(lambda screen: screen.endswith("\n> "))
    os.write(typed.hand, b"\x04")  # Ctrl-D
    last = typed.until(lambda screen: '"status": "done"' in screen)
    assert json.loads(last.splitlines()[-1])["outputs"] == {"model": "cynic-lora", "questions": 3}
    assert typed.process.wait(20) == 0


def test_ctrl_c_breaks_an_answer_off_and_not_the_program(terminal):
    typed = terminal("--max_tokens", "900", "--temperature", "1", "--seed", "2", "--system_prompt", "none")
    typed.until(lambda screen: screen.endswith("> "))
    typed.type("Tell me a very long story.")
    typed.until(lambda screen: len(screen) > 60)
    typed.process.send_signal(signal.SIGINT)
    typed.until(lambda screen: "(broken off)" in screen and screen.endswith("> "))
    engine = resident.find()
    from core.serve import client

    end = time.monotonic() + 10
    while client.health(engine)["answers"]:
        assert time.monotonic() < end, "its place is free again"
        time.sleep(0.05)
    typed.process.send_signal(signal.SIGINT)
    typed.until(lambda screen: "Ctrl-D or /exit ends." in screen)
    typed.type("/exit")
    typed.until(lambda screen: '"status": "done"' in screen)
    assert typed.process.wait(20) == 0


def test_the_engine_is_started_where_none_lives(home, tiny_base, tiny_data):
    tiny_mix.write(home, tiny_base, tiny_data)
    try:
        status, _, answer, errors = chat("--instruction", "Why?", "--model", "cynic-lora", *GREEDY)
        assert status == 0 and answer["outputs"]["tokens"] == 8
        assert errors.startswith("No engine runs, so one is started") and len(errors.splitlines()) == 1
        assert resident.find().base_model == str(tiny_base), "the one that the adapter stands on"
    finally:
        resident.stop()
