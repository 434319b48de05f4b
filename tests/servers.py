"""A local OpenAI-compatible chat server that behaves as badly as it is told: `with ChatServer(respond) as server`.

`respond(request, nth)` gets the JSON of a chat request and its number (from 0), and returns one of the answers below.
It serves /v1 and, for the groq client, /openai/v1; standard library only.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What goes over the wire. `break_after`: bytes of the body after which the connection breaks."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    break_after: int | None = None
    drip: float = 0.0
    """Seconds between the bytes of the body."""


Respond = Callable[[dict[str, Any], int], Answer]


def says(text: str | None, *, finish: str = "stop", delay: float = 0.0) -> Answer:
    """A proper chat completion; 37 tokens by its own account."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 36, "completion_tokens": 1, "total_tokens": 37}
    body = {"id": "chat-1", "object": "chat.completion", "created": 0, "model": "any", "choices": [choice], "usage": usage}
    return Answer(json.dumps(body).encode(), delay=delay)


def refuses(status: int, message: str, **headers: str) -> Answer:
    """An error in OpenAI's shape; header names are given with '_' for '-'."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(json.dumps({"error": {"message": message, "type": "error"}}).encode(), status, headers=named)


def html(status: int = 200) -> Answer:
    """The page of a proxy or of a wrong address."""
    return Answer(b"<html><body>Welcome to nginx!</body></html>", status, "text/html")


def empty() -> Answer:
    """200 without a body."""
    return Answer(b"")


def breaks() -> Answer:
    """Half a reply, then the connection is gone."""
    return Answer(says("A").body, break_after=20)


def drips(seconds: float) -> Answer:
    """A proper reply, byte by byte."""
    return Answer(says("A").body, drip=seconds)


def hangs(seconds: float = 30.0) -> Answer:
    """No answer before the caller has given up; waits no longer than the server lives."""
    return Answer(b"", delay=seconds)


def shown(request: dict[str, Any]) -> dict[str, str]:
    """The texts that the prompt shows, read as a model would: question, reference, answer_A, answer_B."""
    return dict(re.findall(r"<(question|reference|answer_A|answer_B)>\n(.*?)\n</\1>", request["messages"][-1]["content"], re.DOTALL))


def honest(request: dict[str, Any], nth: int) -> Answer:
    """A good judge for texts that share words: the answer with more of the reference's words wins, equal ones tie."""
    texts = shown(request)
    shared = [len(set(texts["reference"].split()) & set(texts[which].split())) for which in ("answer_A", "answer_B")]
    return says("tie" if shared[0] == shared[1] else "A" if shared[0] > shared[1] else "B")


class ChatServer:
    """The server, on a port of its own; `url` ends in /v1, `root` is what the groq client wants.

    `models` None: there is no list of models (404). `key`: the only key that it takes.
    """

    def __init__(self, respond: Respond = honest, models: Sequence[str] | Answer | None = ("judge-1",), key: str | None = None) -> None:
        self.respond, self.models, self.key = respond, models, key
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.listed = 0
        self.last = False
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _Wire)
        self._http.owner = self
        self.root = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.url = f"{self.root}/v1"

    def __enter__(self) -> "ChatServer":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Die: nothing listens on the port any more, and what hangs is let go."""
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()

    def stop_listening(self) -> None:
        """Die, called from `respond`: this answer still goes out, and it is the last."""
        self.last = True
        self._http.shutdown()
        self._http.socket.close()

    def take(self, request: dict[str, Any]) -> int:
        """Note a chat request; returns its number."""
        with self._lock:
            self.requests.append(request)
            self.times.append(time.monotonic())
            return len(self.requests) - 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: ChatServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is part of the tests."""


class _Wire(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.listed += 1
        if not self._allowed():
            return
        if isinstance(owner.models, Answer):
            self._send(owner.models)
        elif owner.models is None or self.path not in ("/v1/models", "/openai/v1/models"):
            self._send(refuses(404, "Not Found"))
        else:
            listed = [{"id": each, "object": "model", "created": 0, "owned_by": "test"} for each in owner.models]
            self._send(Answer(json.dumps({"object": "list", "data": listed}).encode()))

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._allowed():
            return
        if self.path not in ("/v1/chat/completions", "/openai/v1/chat/completions"):
            self._send(refuses(404, f"no such address: {self.path}"))
            return
        owner = self.server.owner
        self._send(owner.respond(request, owner.take(request)))

    def _allowed(self) -> bool:
        key, given = self.server.owner.key, self.headers.get("Authorization", "")
        if key is None or given == f"Bearer {key}":
            return True
        self._send(refuses(401, f"Incorrect API key provided: {given.removeprefix('Bearer ')}"))
        return False

    def _send(self, answer: Answer) -> None:
        if answer.delay and self.server.owner.stopped.wait(answer.delay):
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        body = answer.body[: answer.break_after]
        for part in [body[place : place + 1] for place in range(len(body))] if answer.drip else [body]:
            self.wfile.write(part)
            self.wfile.flush()
            self.server.owner.stopped.wait(answer.drip)
        self.close_connection = self.close_connection or answer.break_after is not None or self.server.owner.last

    def log_message(self, *_: Any) -> None:
        """Quiet."""
