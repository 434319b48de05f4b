"""The real openai and groq clients against the engine: answers, streams, sampling, stops, models and errors."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import groq
import httpx
import openai
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from core import paths
from core.jobs import locks
from tests.core.serve.conftest import until

ASKED = [{"role": "user", "content": "What is a good life?"}]
TURNS = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "I am Ada."},
    {"role": "assistant", "content": "Hello, Ada!"},
    {"role": "user", "content": "Who am I?"},
]


@pytest.fixture
def client(serve):
    """`client.completion(**fields)`: by the openai client, greedy, 16 tokens of base unless told otherwise."""
    return Client(serve())


class Client:
    def __init__(self, served):
        self.served = served
        self.openai = openai.OpenAI(base_url=f"{served.address.address}/v1", api_key="any", max_retries=0)
        self.groq = groq.Groq(base_url=served.address.address, api_key="any", max_retries=0)

    def completion(self, library="openai", **fields):
        asked = {"model": "base", "messages": ASKED, "temperature": 0, "max_tokens": 16, **fields}
        return getattr(self, library).chat.completions.create(**asked)

    def text(self, *given, **fields):
        return self.completion(*given, **fields).choices[0].message.content


@pytest.fixture(scope="module")
def generated(tiny_base):
    """`generated(messages, tokens, adapter folder)`: transformers' greedy text, and how many tokens the prompt has."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)

    def make(messages, tokens, folder=None):
        model = AutoModelForCausalLM.from_pretrained(tiny_base)
        model = PeftModel.from_pretrained(model, folder) if folder else model
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        made = model.eval().generate(**prompt, max_new_tokens=tokens, do_sample=False)
        length = prompt["input_ids"].shape[1]
        return tokenizer.decode(made[0, length:], skip_special_tokens=True), length

    return make


@pytest.mark.parametrize("library", ["openai", "groq"])
def test_greedy_answers_are_transformers_own_side_by_side(client, adapters, generated, library):
    folder = adapters("x", 1)
    asked = [(model, messages) for model in ("base", "x") for messages in (ASKED, TURNS)]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda each: client.completion(library, model=each[0], messages=each[1], max_tokens=40), asked))
    for (model, messages), reply in zip(asked, replies, strict=True):
        text, prompt = generated(messages, 40, folder if model == "x" else None)
        choice = reply.choices[0]
        assert (choice.message.content, choice.message.role, choice.finish_reason) == (text, "assistant", "length")
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (prompt, 40, prompt + 40)
        assert reply.model == model and reply.object == "chat.completion" and reply.id.startswith("chatcmpl-")
    assert max(client.served.passes) > 1, "they shared passes"


def test_a_stream_says_the_same_piece_by_piece_then_its_tokens(client):
    whole = client.completion()
    chunks = list(client.completion(stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert chunks[-1].choices == [] and chunks[-1].usage.model_dump() == whole.usage.model_dump()
    assert len({chunk.id for chunk in chunks}) == 1 and all(chunk.usage is None for chunk in chunks[:-1])
    fresh = list(client.completion(stream=True, messages=TURNS))
    assert len(fresh) > 5 and fresh[-1].usage is None
    last = list(client.completion("groq", stream=True))[-1]
    assert last.x_groq.usage.total_tokens == whole.usage.total_tokens
    body = {"model": "base", "messages": ASKED, "max_tokens": 3, "stream": True}
    reply = httpx.post(f"{client.served.address.address}/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream") and reply.text.endswith("\n\ndata: [DONE]\n\n")


def test_a_seed_draws_the_same_answer_alone_and_beside_others(client):
    def drawn(seed, **fields):
        return client.text(temperature=1, seed=seed, max_tokens=24, **fields)

    alone = drawn(5)
    until(lambda: client.served.health()["answers"] == 0)
    client.served.engine._answers._finished.clear()
    with ThreadPoolExecutor(6) as pool:
        beside = list(pool.map(drawn, [5, 6, 7, 8, None, None]))
    assert beside[0] == alone
    assert len(set(beside)) == 6, "other seeds, and none, draw other answers"
    assert drawn(5, top_p=0.001) == client.text(max_tokens=24) != alone
    assert client.text(temperature=None, seed=5, max_tokens=24) == alone, "the temperature is 1 where none is given"


def test_a_stop_text_ends_the_answer_before_it(client):
    whole = client.text(max_tokens=30)
    stop = whole[10:13]
    kept = whole[: whole.index(stop)]
    reply = client.completion(max_tokens=30, stop=stop)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (kept, "stop")
    assert reply.usage.completion_tokens < 30
    chunks = list(client.completion(max_tokens=30, stop=["never said", stop], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == kept
    assert client.text(max_tokens=30, stop=["never said"]) == whole


def test_tokens_of_the_answer_have_two_names_and_a_default(client, monkeypatch):
    assert client.completion(max_tokens=None, max_completion_tokens=7).usage.completion_tokens == 7
    assert client.completion(max_tokens=9, max_completion_tokens=7).usage.completion_tokens == 7
    monkeypatch.setattr("core.serve.chat.MOST_NEW_TOKENS", 21)
    assert client.completion(max_tokens=None).usage.completion_tokens == 21
    monkeypatch.undo()
    long = client.completion(messages=[{"role": "user", "content": "a " * 480}], max_tokens=None)
    assert long.usage.total_tokens == 1024 and long.choices[0].finish_reason == "length"


def test_parts_of_text_developers_and_echoed_answers_are_read(client, generated):
    parts = [{"type": "text", "text": "Who "}, {"type": "text", "text": "am I?"}]
    echoed = {"role": "assistant", "content": "Hello, Ada!", "refusal": None, "annotations": []}
    messages = [{"role": "developer", "content": "You are terse."}, TURNS[1], echoed, {"role": "user", "content": parts}]
    assert client.text(messages=messages) == generated(TURNS, 16)[0]
    harmless = {
        "n": 1,
        "logprobs": False,
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "user": "me",
        "response_format": {"type": "text"},
    }
    assert client.text(**harmless) == generated(ASKED, 16)[0]


@pytest.mark.parametrize("library", [openai, groq], ids=["openai", "groq"])
def test_models_are_listed_and_unknown_ones_are_404_with_what_is_offered(client, adapters, library):
    adapters("x", 1)
    (adapters("foreign", 2) / "run.json").write_text('{"role": "own", "base_model": "elsewhere", "base_hash": "0123"}')
    (adapters("route", 2) / paths.ROUTER).write_bytes(b"")
    name = library.__name__
    asked = getattr(client, name)
    assert [each.id for each in asked.models.list().data] == ["base", "x"]
    assert asked.models.retrieve("x").id == "x"
    calls = [lambda: client.completion(name, model="gpt-4o"), lambda: asked.models.retrieve("gpt-4o")]
    for call in calls:
        with pytest.raises(library.NotFoundError) as error:
            call()
        said = error.value.response.json()["error"]
        assert said["message"] == "The engine offers no model 'gpt-4o'. It offers: base, x."
        assert (said["type"], said["param"], said["code"]) == ("invalid_request_error", "model", "model_not_found")
    with pytest.raises(library.BadRequestError, match="'foreign' was trained on elsewhere"):
        client.completion(name, model="foreign")
    with pytest.raises(library.NotFoundError, match="offers no model"):
        client.completion(name, model="../../etc")


NOT_OFFERED = [
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
    ({"top_logprobs": 3}, "top_logprobs", "needs logprobs"),
    ({"n": 129}, "n", "less than or equal to 128"),
    ({"extra_body": {"preset": "wild"}}, None, "preset is none of creative, deterministic, longer"),
    ({"frequency_penalty": 0.5}, "frequency_penalty", "can't penalise"),
    ({"logit_bias": {"5": 1}}, "logit_bias", "can't favour tokens"),
    ({"response_format": {"type": "json_object"}}, "response_format", "can't force a format"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "calls no tools"),
    ({"temperature": 3}, "temperature", "less than or equal to 2"),
    ({"top_p": -1}, "top_p", "greater than or equal to 0"),
    ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    ({"stop": [""]}, "stop.0", "at least 1 character"),
    ({"messages": []}, "messages", "at least 1 item"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages.0.role", "'assistant'"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
        "messages.0.content",
        "the engine reads text alone",
    ),
    ({"extra_body": {"colour": "red"}}, "colour", "Extra inputs are not permitted"),
    ({"messages": [{"role": "user", "content": "word " * 3000}]}, "messages", "that the base model can see. Shorten messages"),
    ({"max_tokens": 1020}, "messages", "with 1020 for the answer that is more than the 1024"),
]
"""Fields, the one at fault, and what is said of it."""


def test_what_is_not_offered_is_refused_in_a_sentence(client):
    for fields, param, said in NOT_OFFERED:
        with pytest.raises(openai.BadRequestError) as error:
            client.completion(**fields)
        body = error.value.body
        assert body["param"] == param and said in body["message"] and "\n" not in body["message"]
        assert body["type"] == "invalid_request_error"
        assert (body["code"] == "context_length_exceeded") == ("base model can see" in body["message"]), fields
    assert client.served.passes == []


def test_no_message_is_ever_too_long_to_be_told_so(client):
    reply = httpx.post(
        f"{client.served.address.address}/v1/chat/completions",
        json={"model": "base", "messages": [{"role": "user", "content": "x" * 2_500_000}]},
    )
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "messages.0.content"


def test_a_client_that_hangs_up_frees_its_place_streamed_or_not(client):
    stream = client.completion(stream=True, max_tokens=900)
    next(iter(stream))
    stream.close()
    until(lambda: client.served.health()["answers"] == 0)
    with pytest.raises(openai.APITimeoutError):
        client.completion(max_tokens=900, messages=TURNS, timeout=0.3)
    until(lambda: client.served.health()["answers"] == 0)
    assert len(client.served.passes) < 900, "nobody computed on for nobody"
    assert client.text()


def test_eight_at_once_share_passes_whatever_they_ask(client, adapters):
    adapters("x", 1), adapters("y", 2)
    asked = [
        {"model": model, "messages": [{"role": "user", "content": f"{nth}?"}], "max_tokens": 60, "seed": 3, "temperature": temperature}
        for nth, (model, temperature) in enumerate([("base", 0), ("x", 0), ("y", 1), ("base", 1)] * 2)
    ]
    alone = [client.text(**each) for each in asked]
    sequential = len(client.served.passes)
    client.served.engine._answers._finished.clear()
    client.served.passes.clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda each: client.text(**each), asked)) == alone
    assert max(client.served.passes) == 8 and len(client.served.passes) < sequential / 3


def test_an_answer_that_breaks_off_is_an_error_of_the_client(client, adapters, monkeypatch):
    adapters("x", 1)
    monkeypatch.setattr(client.served.engine._loaded, "misfit", lambda mix: "It does not fit." if mix.parts else "")
    with pytest.raises(openai.BadRequestError, match="It does not fit"):
        client.completion(model="x")
    with pytest.raises(openai.APIError, match="It does not fit"):
        list(client.completion(model="x", stream=True))
    broken, found = threading.Event(), []

    def ask():
        try:
            client.completion(max_tokens=900)
        except openai.APIStatusError as error:
            found.append((error.status_code, error.body["message"]))
        broken.set()

    threading.Thread(target=ask).start()
    until(lambda: client.served.health()["answers"])
    client.served.engine._ending = True
    assert broken.wait(5) and found == [(503, "The engine was ended.")]


def test_on_a_gpu_it_makes_room_for_a_job_and_says_so(client):
    client.served.engine.device = torch.device("cuda")  # the rules of a GPU; the model stays where it is
    lane = locks.take("device")
    with pytest.raises(openai.InternalServerError, match="A job has the GPU") as error:
        client.completion()
    os.close(lane)
    assert error.value.status_code == 503 and error.value.body["type"] == "unavailable"
