"""Who may ask the engine: keys, hosts, sizes and rates."""

import hmac
import json
import socket
import threading

import httpx
import openai
import pytest

from core.__main__ import main
from core.config.serve import KEY_VARIABLE
from core.serve import client, guard, resident
from core.serve.guard import Rates

KEYS = ("first-key-of-the-tests", "second-key-of-the-tests")
SECRET = "xyzzy-the-question-nobody-may-keep"
CHAT = {"model": "base", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 3}
ADDRESSES = (
    ("GET", "/health"),
    ("GET", "/v1/models"),
    ("GET", "/openapi.json"),
    ("GET", "/nope"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/openai/v1/completions"),
    ("POST", "/console/answers"),
    ("POST", "/console/losses"),
    ("POST", "/console/shares"),
    ("POST", "/rag/answers"),
)


@pytest.fixture
def keyed(serve, monkeypatch):
    """An engine that wants one of two keys."""
    monkeypatch.setenv(KEY_VARIABLE, f" {KEYS[0]}, {KEYS[1]} ,")
    return serve()


def ask(served, key=None, path="/v1/chat/completions", method="POST", **headers):
    address = getattr(served.address, "address", served.address)
    said = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.request(method, address + path, json=CHAT if method == "POST" else None, headers=said | headers, timeout=30)


def refused(reply, status):
    """The error, in OpenAI's shape and in one sentence or two."""
    assert reply.status_code == status and reply.headers["content-type"] == "application/json", reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and "\n" not in error["message"] and error["message"].endswith(".")
    return error


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_every_address_wants_a_key(keyed, method, path):
    for wrong in (None, "a-key-of-somebody-else", KEYS[0][:-1], KEYS[0] + "x", ",".join(KEYS)):
        error = refused(ask(keyed, wrong, path, method), 401)
        assert error["code"] == "invalid_api_key" and error["type"] == "authentication_error"
        assert not any(key in error["message"] for key in KEYS), "no key is told"
    assert refused(ask(keyed, None, path, method, Authorization=f"Basic {KEYS[0]}"), 401)


def test_each_key_and_the_homes_token_let_in(keyed):
    assert [ask(keyed, key).status_code for key in (*KEYS, keyed.address.token)] == [200, 200, 200]
    assert client.health(keyed.address)["limits"]["key"] is True
    with pytest.raises(openai.AuthenticationError, match="needs a key"):
        openai.OpenAI(base_url=f"{keyed.address.address}/v1", api_key="a-wrong-one", max_retries=0).models.list()
    models = openai.OpenAI(base_url=f"{keyed.address.address}/v1", api_key=KEYS[1], max_retries=0).models.list()
    assert [model.id for model in models] == ["base"]


def test_keys_are_compared_in_constant_time(keyed, monkeypatch):
    compared = []

    def compare(said, known):
        compared.append((said, known))
        return hmac.compare_digest(said, known)

    monkeypatch.setattr(guard, "hmac", type("Spied", (), {"compare_digest": staticmethod(compare)}))
    for key in ("a-key-of-somebody-else", KEYS[0]):
        compared.clear()
        ask(keyed, key)
        assert [said for said, _ in compared] == [key.encode()] * 3
        assert [known for _, known in compared] == [each.encode() for each in (keyed.address.token, *KEYS)], "all are looked at"


def test_without_keys_only_programs_of_this_machine_may_ask(serve):
    served = serve()
    assert ask(served).status_code == 200
    assert ask(served, Host="localhost:8000").status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", "0.0.0.0", "127.0.0.1@evil.example"):
        assert "is not this engine's" in refused(ask(served, Host=host), 403)["message"]
    for origin in ("https://evil.example", "http://127.0.0.1.evil.example", "null", "http://[", "file://"):
        assert "may not ask this engine" in refused(ask(served, Origin=origin), 403)["message"], origin
    assert ask(served, Origin="http://127.0.0.1:8501").status_code == 200


def test_with_a_key_any_host_and_page_may_ask(keyed):
    assert ask(keyed, KEYS[0], Host="serve.example", Origin="https://serve.example").status_code == 200


def test_a_request_that_is_too_large_is_refused_before_it_is_read(serve):
    served = serve(max_body_mb=0.01)
    host, port = served.address.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999\r\n\r\n".encode())
        assert line.recv(12) == b"HTTP/1.1 413", "nothing of it was sent"
    big = json.dumps({**CHAT, "messages": [{"role": "user", "content": "a" * 20_000}]})
    address = f"{served.address.address}/v1/chat/completions"
    assert "more than the 0.01 MB" in refused(httpx.post(address, content=big), 413)["message"]
    assert refused(httpx.post(address, content=iter([big.encode()])), 413), "without a length it is counted"
    assert ask(served).status_code == 200


def test_rates_are_kept_for_each_key_and_say_when_to_come_back(serve, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, ",".join(KEYS))
    served = serve(requests_per_minute=3)
    assert [ask(served, KEYS[0], "/v1/models", "GET").status_code for _ in range(3)] == [200] * 3
    late = ask(served, KEYS[0])
    error = refused(late, 429)
    assert error["code"] == "rate_limit_exceeded" and 1 <= int(late.headers["retry-after"]) <= 20
    assert ask(served, KEYS[1]).status_code == 200, "another key has a minute of its own"
    assert all(client.health(served.address) for _ in range(5)), "the home's own look-ups are not counted"
    with pytest.raises(openai.RateLimitError):
        openai.OpenAI(base_url=f"{served.address.address}/v1", api_key=KEYS[0], max_retries=0).models.list()


def test_a_rate_gives_back_as_time_goes_by():
    rates = Rates(60)
    assert [rates.wait("a", 0.0) for _ in range(61)] == [0.0] * 60 + [1.0]
    assert rates.wait("b", 0.0) == 0.0 and rates.wait("a", 0.5) == pytest.approx(0.5)
    assert rates.wait("a", 1.5) == 0.0 and rates.wait("a", 1.5) > 0


def test_answers_beyond_the_waiting_places_are_refused(serve):
    served = serve(side_by_side=1, most_waiting=2)
    held = [client.answers(served.address, str(n), [{"key": "a", "question": f"{n}?"}], max_new_tokens=900) for n in range(2)]
    next(held[0])
    threading.Thread(target=lambda: next(held[1], None), daemon=True).start()
    replies = []
    askers = [threading.Thread(target=lambda n=n: replies.append(other(served, n))) for n in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    statuses = sorted(reply.status_code for reply in replies)
    assert statuses[-1] == 429 and set(statuses) <= {200, 429}, statuses
    late = next(reply for reply in replies if reply.status_code == 429)
    assert refused(late, 429) and int(late.headers["retry-after"]) >= 1


def other(served, n):
    body = {**CHAT, "messages": [{"role": "user", "content": f"Which {n}?"}]}
    return httpx.post(f"{served.address.address}/v1/chat/completions", json=body, timeout=60)


@pytest.mark.parametrize(
    ("environment", "words", "said"),
    [
        ("", ["--host", "0.0.0.0"], "host=0.0.0.0 is open to other machines, and there is no key."),
        ("", ["--host", "::"], "host=:: is open to other machines, and there is no key."),
        ("short", [], "has fewer than 16 characters"),
        (f"{KEYS[0]},short", ["--host", "0.0.0.0"], "has fewer than 16 characters"),
    ],
)
def test_an_open_host_without_a_key_does_not_start(tiny_base, monkeypatch, capfd, environment, words, said):
    monkeypatch.setenv(KEY_VARIABLE, environment)
    assert main(["serve", "--base_model", str(tiny_base), *words]) == 2
    error = capfd.readouterr().err
    assert said in error and "Traceback" not in error and len(error.strip().splitlines()) == 1
    assert KEYS[0] not in error and resident.find() is None
