"""The real openai and groq clients against a server that misbehaves: one retry policy, and reasons without keys."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import groq
import openai
import pytest

from core.models import chat
from core.models.chat import CallFailed, Chat
from tests.servers import Answer, ChatServer, breaks, empty, hangs, html, refuses, says

KEY = "sk-very-secret"
MESSAGES = [{"role": "user", "content": "A or B?"}]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "FIRST_WAIT", 0.01)


def client(library: Any, server: ChatServer, retries: int = 2, timeout: float = 0.3) -> tuple[Chat, list[tuple[str, float]]]:
    made = {"api_key": KEY, "timeout": timeout, "max_retries": 0}
    of = openai.OpenAI(base_url=server.url, **made) if library is openai else groq.Groq(base_url=server.root, **made)
    waits: list[tuple[str, float]] = []
    return Chat(library, of, KEY, retries, lambda reason, seconds: waits.append((reason, seconds))), waits


@pytest.mark.parametrize("library", [openai, groq], ids=["openai", "groq"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (refuses(500, "out of memory"), "HTTP 500: out of memory"),
        (refuses(429, "slow down"), "HTTP 429: slow down"),
        (refuses(408, "too slow"), "HTTP 408: too slow"),
        (html(502), "HTTP 502: <html><body>Welcome to nginx!</body></html>"),
        (html(), "no JSON: it begins '<html>"),
        (empty(), "no JSON: it is empty"),
        (breaks(), "the connection failed"),
        (hangs(), "no reply within 0.3 seconds"),
        (Answer(b'{"answer": "A"}'), "no chat completion"),
        (Answer(b'{"choices": []}'), "no chat completion"),
        (Answer(b"[" * 100_000), "no JSON: it begins"),
        (Answer(b"[" * 100_000, 500), "HTTP 500: [["),
        (refuses(500, "..."), "HTTP 500: without a word"),
    ],
)
def test_what_may_pass_is_tried_again(library: Any, bad: Answer, reason: str) -> None:
    with ChatServer(lambda request, nth: bad if nth == 0 else says("B")) as server:
        asking, waits = client(library, server)
        reply = asking.complete(MESSAGES, model="judge-1", temperature=0)
    assert (reply.text, reply.tokens, reply.tries) == ("B", 37, 2)
    assert len(waits) == 1 and reason in waits[0][0]


@pytest.mark.parametrize("library", [openai, groq], ids=["openai", "groq"])
def test_a_call_that_never_works_says_why_and_how_often(library: Any) -> None:
    with ChatServer(lambda request, nth: refuses(503, f"overloaded, key {KEY}")) as server:
        asking, _ = client(library, server)
        with pytest.raises(CallFailed, match=r"^HTTP 503: overloaded, key \[key\] \(tried 3 times\)$"):
            asking.complete(MESSAGES, model="judge-1")
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_can_not_succeed_is_not_repeated(status: int) -> None:
    with ChatServer(lambda request, nth: refuses(status, "no such model")) as server:
        asking, waits = client(openai, server)
        with pytest.raises(CallFailed, match=f"^HTTP {status}: no such model$") as failed:
            asking.complete(MESSAGES, model="gone")
        assert failed.value.status == status
        assert len(server.requests) == 1 and not waits


def test_a_reason_is_one_line_that_can_be_printed() -> None:
    with ChatServer(lambda request, nth: refuses(400, "\x1b[31mbad\x00 key\u202e \ud83d\n\nhere.")) as server:
        asking, _ = client(openai, server)
        with pytest.raises(CallFailed, match=r"^HTTP 400: \[31mbad key here$"):
            asking.complete(MESSAGES, model="judge-1")


@pytest.mark.parametrize("count", [10**30, 10**9, -1000, True, 1.5, float("nan"), "many", None, [1]], ids=str)
def test_only_a_sane_number_is_a_number_of_tokens(count: Any) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 3}
    body = {"choices": [{"message": {"content": "A"}, "finish_reason": ["stop"]}], "usage": usage}
    with ChatServer(lambda request, nth: Answer(json.dumps(body).encode())) as server:
        reply = client(openai, server)[0].complete(MESSAGES, model="judge-1")
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.reply_tokens, reply.tokens) == ("A", "", None, 3, None)


def test_half_a_character_becomes_a_question_mark() -> None:
    with ChatServer(lambda request, nth: says("A \ud83d")) as server:
        assert client(openai, server)[0].complete(MESSAGES, model="judge-1").text == "A ?"


@pytest.mark.parametrize("header", ["0.4", "date"])
def test_retry_after_is_obeyed_in_seconds_and_as_a_date(header: str) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    wanted = 0.4 if header == "0.4" else 0.6  # a date has no fractions of a second
    answer = refuses(429, "slow down", Retry_After=moment if header == "date" else header)
    with ChatServer(lambda request, nth: answer if nth == 0 else says("A")) as server:
        asking, _ = client(openai, server)
        assert asking.complete(MESSAGES, model="judge-1").tries == 2
        assert wanted <= server.times[1] - server.times[0] < 3


def test_retry_after_holds_the_other_threads_too() -> None:
    with ChatServer(lambda request, nth: refuses(429, "slow down", Retry_After="0.5") if nth == 0 else says("A")) as server:
        asking, _ = client(openai, server)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(asking.complete, MESSAGES, model="judge-1")
            time.sleep(0.2)
            second = pool.submit(asking.complete, MESSAGES, model="judge-1")
        assert (first.result().tries, second.result().tries) == (2, 1)
        assert min(server.times[1:]) - server.times[0] >= 0.5


def test_many_threads_pass_a_rate_limit() -> None:
    """One call per 0.1 s and 8 threads: without the gate, some call would lose every race and fail."""
    served: list[float] = []

    def limited(request: dict[str, Any], nth: int) -> Answer:
        now = time.monotonic()
        if served and now - served[-1] < 0.1:
            return refuses(429, "slow down", Retry_After=f"{0.1 - now + served[-1]:.3f}")
        served.append(now)
        return says("A")

    with ChatServer(limited) as server:
        asking, _ = client(openai, server, retries=3, timeout=5)
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: asking.complete(MESSAGES, model="judge-1"), range(24)))
    assert len(replies) == 24 == len(served)


def test_a_wait_that_is_too_long_is_a_failure() -> None:
    with ChatServer(lambda request, nth: refuses(429, "daily quota is spent", Retry_After="86400")) as server:
        asking, waits = client(groq, server)
        with pytest.raises(CallFailed, match="daily quota is spent; it asks to wait 86400 seconds"):
            asking.complete(MESSAGES, model="judge-1")
        assert not waits


def test_the_backoff_doubles_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    with ChatServer(lambda request, nth: refuses(500, "down")) as server:
        asking, waits = client(openai, server, retries=9)
        monkeypatch.setattr(chat, "FIRST_WAIT", 0.5)
        monkeypatch.setattr(chat.time, "sleep", slept.append)
        with pytest.raises(CallFailed, match="tried 10 times"):
            asking.complete(MESSAGES, model="judge-1")
    for nth, seconds in enumerate(slept):
        assert min(60, 0.5 * 2**nth) / 2 - 0.1 <= seconds <= min(60, 0.5 * 2**nth)
    assert [seconds for _, seconds in waits] == pytest.approx(slept, abs=0.1) and len(set(slept)) == 9


@pytest.mark.parametrize("library", [openai, groq], ids=["openai", "groq"])
def test_the_list_of_models(library: Any) -> None:
    with ChatServer(models=["b", "a"]) as server:
        assert client(library, server)[0].models() == ["a", "b"]
    odd = Answer(json.dumps({"data": [{"id": None}, {"id": 5}, {"id": "m"}, {"id": "\x1b[2J"}]}).encode())
    with ChatServer(models=odd) as server:
        assert client(library, server)[0].models() == ["m"]
    with ChatServer(models=None) as server, pytest.raises(CallFailed, match="HTTP 404") as failed:
        client(library, server)[0].models()
    assert failed.value.reached
    with pytest.raises(CallFailed, match="the connection failed") as failed:
        client(library, server)[0].models()
    assert not failed.value.reached
