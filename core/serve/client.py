"""Talk to the engine: each request is a generator of events; closing it hangs up, and the engine lets go of what it asked for.

    engine = resident.find() or resident.start()
    for event in client.answers(engine, session="a", rows=[{"key": "mix", "question": "Why?", "mix": {"adapters": ["x"]}}]):
        ...

Errors are UserErrors: what the engine says of a bad request, or that it is gone.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from core import read_only
from core.errors import UserError
from core.serve.resident import Engine

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 600.0
"""How long a stream may say nothing: the model may have to be loaded first."""


def plainly(engine: Engine) -> dict[str, Any]:
    """No proxy; and no certificates where it is plain HTTP: reading them would cost more than an answer's start."""
    return {"trust_env": False, "verify": engine.address.startswith("https:")}


def shown(engine: Engine) -> dict[str, str]:
    """Headers by which an engine knows a process of its own home; they stand for a key."""
    return {"Authorization": f"Bearer {engine.token or 'none'}"}


def health(engine: Engine) -> dict[str, Any]:
    """base_model, device, adapters (names), loaded, busy (a sentence; empty: nobody else computes), answers and losses under way."""
    try:
        reply = httpx.get(f"{engine.address}/health", headers=shown(engine), timeout=CONNECT_SECONDS, **plainly(engine))
        return dict(_checked(reply).json())
    except httpx.HTTPError as error:
        raise _gone(error) from None


def answers(engine: Engine, session: str, rows: list[dict[str, Any]], **fields: Any) -> Iterator[dict[str, Any]]:
    """Greedy answers, streamed side by side.

    `rows`: [{key, question, category, mix, so_far}]; `mix`: a MergeConfig's fields, None: the base model; `so_far`: go on from there.
    `fields`: system_prompt, max_new_tokens (of the whole answer, so_far included).
    Events: {key, text} (what is new), {key, merging} (share done of a temporary adapter), {key, done, tokens} (done: stop, length or
    superseded by a newer request of the session), {key, error} (a sentence: this row can't be answered).
    """
    read_only.refuse("The console")
    return _events(engine, "/console/answers", {"session": session, "rows": rows, **fields})


def losses(engine: Engine, session: str, mixes: list[dict[str, Any] | None], **fields: Any) -> Iterator[dict[str, Any]]:
    """Losses on validation rows, as they get known.

    `fields`: data, system_prompt, max_seq_length, limit (rows per category), categories (per mix: those asked for; None: all).
    Events: {mix (its place), category, loss (nats per answer token over the rows so far), rows, done_rows, each (nats and answer tokens
    of the rows since the last such event, by row)}, {mix, merging}, {mix, error},
    {note} (rows that are left out, and why), {done: "all" | "superseded"}.
    """
    read_only.refuse("The console")
    return _events(engine, "/console/losses", {"session": session, "mixes": mixes, **fields})


def rag_answers(engine: Engine, session: str, settings: dict[str, Any], **fields: Any) -> Iterator[dict[str, Any]]:
    """One question to documents by several pipelines: what each finds, then greedy answers, streamed side by side.

    `settings`: a RagConfig's fields; `fields`: category, mix (a MergeConfig's fields, None: the base model).
    Events: {index (share done), message} while an index is made, {note} (what was refused), {pipeline, passages: [{passage, document,
    text, score, read (False: there was no room for it)}], seconds, tokens (of the prompt)}, then those of `answers`; their key is the
    pipeline.
    """
    read_only.refuse("Asking documents")
    return _events(engine, "/rag/answers", {"session": session, "settings": settings, **fields})


def models(engine: Engine) -> list[str]:
    """Names of the models that the engine offers, base first. Mixes of adapters are not listed."""
    try:
        reply = httpx.get(f"{engine.address}/v1/models", headers=shown(engine), timeout=CONNECT_SECONDS, **plainly(engine))
        return [str(each["id"]) for each in _checked(reply).json()["data"]]
    except httpx.HTTPError as error:
        raise _gone(error) from None


def chat(engine: Engine, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A streamed chat completion, chunk by chunk, as OpenAI has them (platform.openai.com/docs/api-reference/chat-streaming)."""
    return _events(engine, "/v1/chat/completions", {**request, "stream": True})


def shares(engine: Engine, request: Mapping[str, Any]) -> dict[str, Any]:
    """Why a token was said. `request`: model, messages, answer (the text so far shown), token (its place among the answer's tokens).

    Returns {token (its text), base and mix (log-probabilities in nats), shares (nats by adapter, together mix - base), tokens (texts)}.
    """
    try:
        where, timeout = f"{engine.address}/console/shares", httpx.Timeout(CONNECT_SECONDS, read=SILENCE_SECONDS)
        return dict(_checked(httpx.post(where, json=dict(request), headers=shown(engine), timeout=timeout, **plainly(engine))).json())
    except httpx.HTTPError as error:
        raise _gone(error) from None


def _events(engine: Engine, path: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    timeout = httpx.Timeout(CONNECT_SECONDS, read=SILENCE_SECONDS)
    try:
        where, how = f"{engine.address}{path}", {"timeout": timeout, **plainly(engine)}
        with httpx.stream("POST", where, json=request, headers=shown(engine), **how) as reply:
            if reply.status_code != 200:
                reply.read()
            for data in _data(_checked(reply)):
                event = json.loads(data)
                if event.keys() == {"error"}:
                    raise UserError(_said(event["error"]))
                yield event
    except httpx.HTTPError as error:
        raise _gone(error) from None


def _data(reply: httpx.Response) -> Iterator[bytes]:
    """What server-sent events carry, up to [DONE]. A line feed ends a line, and no other sign that Unicode counts as an end."""
    rest = b""
    for piece in reply.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            data = line.removeprefix(b"data:").strip()
            if line.startswith(b"data:") and data != b"[DONE]":
                yield data


def _said(error: Any) -> str:
    """The sentence of an error: itself, or OpenAI's `message`."""
    return str(error["message"] if isinstance(error, dict) else error)


def _checked(reply: httpx.Response) -> httpx.Response:
    if reply.status_code == 200:
        return reply
    try:
        said = reply.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = f"The engine answered with status {reply.status_code}. See its log: results/.engine.log"
    raise UserError(said)


def _gone(error: httpx.HTTPError) -> UserError:
    return UserError(f"The engine does not answer any more ({str(error) or type(error).__name__}). Start it again: python -m core serve")
