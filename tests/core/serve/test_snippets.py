"""What the Serve page gives to copy runs as it stands; LangChain's and llama-index' in `make clients`, in an environment of its own."""

import ast
import os
import subprocess
import sys

import pytest

from core.serve.snippets import KEY, SNIPPETS, Asked

QUESTION = 'What\'s "good"\n— and {why}? \\ $HOME'
HERE = ("curl", "Python (openai)", "Groq")
SECRET = "a-key-of-the-tests-1234"


def run(name: str, asked: Asked, **environment: str) -> str:
    language, write = SNIPPETS[name]
    command = ["bash", "-ec"] if language == "bash" else [sys.executable, "-c"]
    ended = subprocess.run([*command, write(asked)], capture_output=True, text=True, env=os.environ | environment, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_they_run_and_ask_what_was_chosen(serve, adapters):
    adapters("x", 1), adapters("y", 2)
    served = serve()
    said = {}
    for model in ("base", "mix:x=0.5,y=0.5"):
        asked = Asked(served.address.address, model, question=QUESTION, tokens=6)
        for name in HERE:
            before = served.health()["tokens"]
            printed = run(name, asked)
            assert printed.strip() and '"error"' not in printed, name
            assert served.health()["tokens"] > before, f"{name} has let {model} write"
            said[name, model] = printed
    assert f'"model":"{model}"' in said["curl", model].replace('": "', '":"') and "data: [DONE]" in said["curl", model]


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_key_is_read_from_the_environment_and_stands_in_none(name):
    language, write = SNIPPETS[name]
    with_key, without = (write(Asked("http://127.0.0.1:1", "base", key=key, question=QUESTION)) for key in (True, False))
    assert KEY in with_key and KEY not in without
    if language == "python":
        ast.parse(with_key), ast.parse(without)
    else:
        assert subprocess.run(["bash", "-n", "-c", with_key], capture_output=True).returncode == 0


@pytest.mark.parametrize("name", HERE)
def test_the_key_of_the_environment_is_sent(serve, monkeypatch, name):
    monkeypatch.setenv(KEY, SECRET)
    served = serve()
    asked = Asked(served.address.address, "base", key=True, tokens=3)
    assert '"error"' not in run(name, asked, **{KEY: SECRET})
    if name == "curl":
        assert '"invalid_api_key"' in run(name, asked, **{KEY: "another-key-of-the-tests"})
