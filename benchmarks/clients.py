"""Other people's clients against an engine: openai, groq, LangChain, llama-index and curl, whole and streamed.

    make clients
    .venv-clients/bin/python benchmarks/clients.py [--python .venv/bin/python] [--engine lyceum] [--base_url URL] [--models base,NAME]

Without --base_url it starts an engine on the bundled model, by --python, and ends it afterwards; with it any server is asked, such as
vLLM. It runs in an environment of its own (requirements-clients.txt), because LangChain's client needs an older openai than Lyceum.
Each client asks each model the same greedy question, for one token more than the one before, so that no answer stands ready: each must
begin the longest one, streams come in pieces, and adapters say something else than base.
Prints client x what x model, and exits 1 when something fails. A key is read from LYCEUM_API_KEY.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.serve.snippets import SNIPPETS, Asked

PROJECT = Path(__file__).resolve().parent.parent
QUESTION = "What is a good life?"
TOKENS = 16
"""Of the shortest answer."""
PIECES = 8
"""A stream of fewer pieces would be none."""
NO_KEY = "none"
ADAPTER = "cynic-lora"
WAIT_SECONDS = 300


@dataclass(frozen=True)
class Target:
    """Who is asked."""

    url: str
    """With /v1."""
    key: str
    model: str
    tokens: int = TOKENS

    @property
    def root(self) -> str:
        """Without /v1, as Groq's client wants it."""
        return self.url.removesuffix("/v1")

    @property
    def chat(self) -> dict[str, Any]:
        """The fields of a greedy chat."""
        return {"model": self.model, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": self.tokens}


def openai_client(target: Target) -> Any:
    """The official client."""
    import openai

    return openai.OpenAI(base_url=target.url, api_key=target.key, max_retries=0, timeout=600)


def groq_client(target: Target) -> Any:
    """Groq's, which asks under /openai/v1."""
    import groq

    return groq.Groq(base_url=target.root, api_key=target.key, max_retries=0, timeout=600)


def lang_chain(target: Target) -> Any:
    """LangChain's chat model."""
    from langchain_openai import ChatOpenAI

    fields: dict[str, Any] = {"base_url": target.url, "api_key": target.key, "max_retries": 0, "timeout": 600}
    return ChatOpenAI(model=target.model, temperature=0, max_tokens=target.tokens, **fields)


def llama_index(target: Target) -> Any:
    """llama-index' OpenAI-like model."""
    from llama_index.llms.openai_like import OpenAILike

    fields: dict[str, Any] = {"api_base": target.url, "api_key": target.key, "is_chat_model": True, "max_retries": 0, "timeout": 600.0}
    return OpenAILike(model=target.model, temperature=0, max_tokens=target.tokens, **fields)


def llama_message() -> list[Any]:
    """The question as llama-index has it."""
    from llama_index.core.llms import ChatMessage

    return [ChatMessage(role="user", content=QUESTION)]


def curl(target: Target, **fields: Any) -> str:
    """What curl prints of a chat."""
    words = ["curl", "-sS", "-N", "--max-time", "600", f"{target.url}/chat/completions", "-d", json.dumps(target.chat | fields)]
    for header in ("Content-Type: application/json", f"Authorization: Bearer {target.key}"):
        words += ["-H", header]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def openai_stream(client: Any, target: Target) -> str:
    """By openai's or groq's client; the last piece says why it ended."""
    chunks = [chunk for chunk in client.chat.completions.create(**target.chat, stream=True) if chunk.choices]
    assert chunks[-1].choices[0].finish_reason in ("stop", "length"), "it does not say why it ended"
    return pieced(chunk.choices[0].delta.content for chunk in chunks)


def curl_stream(target: Target) -> str:
    """Server-sent events, [DONE] the last."""
    events = [line.removeprefix("data: ") for line in curl(target, stream=True).splitlines() if line.startswith("data: ")]
    assert events and events[-1] == "[DONE]", "no stream that ends in [DONE]"
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return pieced(choice["delta"].get("content") for choice in choices)


def pieced(pieces: Iterable[str | None]) -> str:
    """The text of a stream that came in pieces."""
    found = [piece for piece in pieces if piece]
    assert len(found) >= PIECES, f"{len(found)} pieces are no stream"
    return "".join(found)


ANSWERS: dict[tuple[str, str], Callable[[Target], str]] = {
    ("openai", "chat"): lambda target: openai_client(target).chat.completions.create(**target.chat).choices[0].message.content,
    ("openai", "chat, streamed"): lambda target: openai_stream(openai_client(target), target),
    ("groq", "chat"): lambda target: groq_client(target).chat.completions.create(**target.chat).choices[0].message.content,
    ("groq", "chat, streamed"): lambda target: openai_stream(groq_client(target), target),
    ("LangChain", "invoke"): lambda target: lang_chain(target).invoke(QUESTION).content,
    ("LangChain", "stream"): lambda target: pieced(str(chunk.content) for chunk in lang_chain(target).stream(QUESTION)),
    ("LangChain", "batch"): lambda target: lang_chain(target).batch([QUESTION, QUESTION])[1].content,
    ("llama-index", "complete"): lambda target: llama_index(target).complete(QUESTION).text,
    ("llama-index", "chat"): lambda target: llama_index(target).chat(llama_message()).message.content,
    ("llama-index", "stream_complete"): lambda target: pieced(chunk.delta for chunk in llama_index(target).stream_complete(QUESTION)),
    ("llama-index", "stream_chat"): lambda target: pieced(chunk.delta for chunk in llama_index(target).stream_chat(llama_message())),
    ("curl", "chat"): lambda target: json.loads(curl(target))["choices"][0]["message"]["content"],
    ("curl", "chat, streamed"): curl_stream,
}
"""Ways to ask the one question; what they get must begin the longest answer."""


def lists_it(client: Callable[[Target], Any]) -> Callable[[Target], str]:
    """/models names the model."""

    def check(target: Target) -> str:
        names = [each.id for each in client(target).models.list().data]
        assert target.model in names, f"{target.model} is not in {names}"
        return ""

    return check


def completion(target: Target) -> str:
    """The older API: a text is continued, whole and streamed alike."""
    fields: dict[str, Any] = {"model": target.model, "prompt": "Virtue is", "temperature": 0, "max_tokens": target.tokens}
    completions = openai_client(target).completions
    streamed = pieced(chunk.choices[0].text for chunk in completions.create(**fields, stream=True) if chunk.choices)
    whole = completions.create(**fields).choices[0].text
    assert whole == streamed, f"{whole!r} and streamed {streamed!r}"
    return ""


def probabilities(target: Target) -> str:
    """Log-probabilities of each token, the alternatives sorted."""
    choice = openai_client(target).chat.completions.create(**target.chat, logprobs=True, top_logprobs=3).choices[0]
    said = "".join(each.token for each in choice.logprobs.content)
    assert said.startswith(choice.message.content), f"the tokens are not the text: {said!r}"
    for each in choice.logprobs.content:
        best = [top.logprob for top in each.top_logprobs]
        assert len(best) == 3 and best == sorted(best, reverse=True) and abs(best[0] - each.logprob) < 1e-3, each
    return ""


def refused(client: Callable[[Target], Any], library: str) -> Callable[[Target], str]:
    """An unknown model is the client's own NotFoundError, with a sentence."""

    def check(target: Target) -> str:
        errors = __import__(library)
        try:
            client(target).chat.completions.create(**target.chat | {"model": "no-such-model"})
        except errors.NotFoundError as error:
            assert error.body and "no-such-model" in str(error.body), error.body
            return ""
        raise AssertionError("an unknown model was answered")

    return check


def snippet(name: str) -> Callable[[Target], str]:
    """What the Serve page gives to copy runs as it stands, and prints something."""

    def check(target: Target) -> str:
        language, write = SNIPPETS[name]
        asked = Asked(target.root, target.model, target.key != NO_KEY, QUESTION, target.tokens)
        command = [sys.executable, "-c"] if language == "python" else ["bash", "-ec"]
        ended = subprocess.run([*command, write(asked)], capture_output=True, text=True)
        assert ended.returncode == 0 and ended.stdout.strip(), ended.stderr[-300:] or "it prints nothing"
        assert '"error"' not in ended.stdout, ended.stdout[-300:]
        return ""

    return check


CHECKS: dict[tuple[str, str], Callable[[Target], str]] = {
    ("openai", "models"): lists_it(openai_client),
    ("openai", "completions"): completion,
    ("openai", "logprobs"): probabilities,
    ("openai", "unknown model"): refused(openai_client, "openai"),
    ("groq", "models"): lists_it(groq_client),
    ("groq", "unknown model"): refused(groq_client, "groq"),
    **{("page's snippet", name): snippet(name) for name in SNIPPETS},
}


def main() -> int:
    """Ask, print the table, and tell by the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base_url", help="with /v1; empty: an engine is started")
    parser.add_argument("--models", help="names between commas; empty: base and an adapter")
    parser.add_argument("--python", default=".venv/bin/python", help="the environment that starts the engine")
    parser.add_argument("--engine", default="lyceum", choices=("lyceum", "vllm"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    key = os.environ.get("LYCEUM_API_KEY", NO_KEY).split(",")[0]
    if given.base_url:
        rows = ask_all(given.base_url.rstrip("/"), key, (given.models or "base").split(","))
    else:
        with started(given.python, given.engine) as url:
            rows = ask_all(url, key, (given.models or f"base,{ADAPTER}").split(","))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    failed = sum(row["failed"] != "" for row in rows)
    print(f"\n{len(rows) - failed} of {len(rows)} ok")
    return int(failed > 0)


def ask_all(url: str, key: str, models: list[str]) -> list[dict[str, str]]:
    """A row per client, what, and model; `failed` is empty where it went well."""
    rows, texts = [], []
    every = ANSWERS | CHECKS
    print(f"{url}\n")
    for model in models:
        texts.append(ANSWERS["openai", "chat"](Target(url, key, model, TOKENS + len(every))))
        print(f"{model}: {texts[-1]!r}")
        for place, ((client, what), check) in enumerate(every.items()):
            failed = failure(check, Target(url, key, model, TOKENS + place), texts[-1])
            rows.append({"client": client, "what": what, "model": model, "failed": failed})
            print(f"  {client:<15} {what:<16} {failed or 'ok'}", flush=True)
    if len(set(texts)) < len(models):
        rows.append({"client": "openai", "what": "models differ", "model": ",".join(models), "failed": "two models gave the same answer"})
        print(rows[-1]["failed"])
    return rows


def failure(check: Callable[[Target], str], target: Target, longest: str) -> str:
    """Why a check failed, in a line; empty: it did not."""
    try:
        said = check(target)
        assert longest.startswith(said), f"it says {said!r}"
        assert said or check in CHECKS.values(), "it says nothing"
    except Exception as error:
        return f"FAILED: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return ""


@contextmanager
def started(python: str, engine: str) -> Iterator[str]:
    """An engine on the bundled model in a home of its own, with one adapter; its address with /v1."""
    with tempfile.TemporaryDirectory() as home:
        shutil.copytree(PROJECT / "adapters" / ADAPTER, Path(home) / "adapters" / ADAPTER)
        command, environment = [str(PROJECT / python), "-m", "core", "serve"], os.environ | {"LYCEUM_HOME": home}
        said = subprocess.run([*command, "--engine", engine, "--detach"], cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
        if said.returncode:
            sys.exit(said.returncode)
        try:
            address = json.loads(said.stdout.splitlines()[-1])["outputs"]["address"]
            wait(f"{address}/health")
            yield f"{address}/v1"
        finally:
            subprocess.run([*command, "--stop"], cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)


def wait(health: str) -> None:
    """Until the engine is ready; vLLM takes a minute or two to start on a CPU."""
    for _ in range(WAIT_SECONDS):
        if json.load(urllib.request.urlopen(health))["state"] == "ready":
            return
        time.sleep(1)
    sys.exit(f"The engine is not ready after {WAIT_SECONDS} s.")


if __name__ == "__main__":
    sys.exit(main())
