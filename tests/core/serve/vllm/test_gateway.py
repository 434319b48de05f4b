"""OpenAI's API before vLLM, by the real openai and groq clients. vLLM's process is a stand-in: it says what was recorded of vLLM."""

import threading
from concurrent.futures import ThreadPoolExecutor

import groq
import httpx
import openai
import pytest
from transformers import AutoTokenizer

from core import paths
from tests.core.serve.conftest import until

ASKED = [{"role": "user", "content": "What is a good life?"}]


@pytest.fixture
def served(serve, adapters):
    adapters("x", 1)
    return serve()


@pytest.fixture
def client(served):
    return openai.OpenAI(base_url=f"{served.address}/v1", api_key="any", max_retries=0)


def test_prompts_go_as_tokens_and_answers_come_back_as_text(served, client, tiny_base):
    reply = client.chat.completions.create(model="x", messages=ASKED, temperature=0, max_tokens=8)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    asked = served.asked("/v1/completions")[-1]
    assert asked["prompt"] == tokenizer.apply_chat_template(ASKED, add_generation_prompt=True)["input_ids"]
    assert (asked["temperature"], asked["max_tokens"], asked["stop_token_ids"]) == (0, 8, [tokenizer.eos_token_id])
    assert asked["model"].startswith("x-") and reply.model == "x", "vLLM's name for it stays inside"
    assert reply.usage.model_dump()["completion_tokens"] == 8 and reply.usage.prompt_tokens == len(asked["prompt"])
    assert reply.choices[0].finish_reason == "length" and reply.choices[0].message.content
    whole = client.chat.completions.create(model="x", messages=ASKED, temperature=0, max_tokens=100)
    assert whole.choices[0].finish_reason == "stop" and whole.usage.completion_tokens == 39, "the end token is not counted"
    assert whole.choices[0].message.content.startswith(reply.choices[0].message.content.rstrip("\N{REPLACEMENT CHARACTER}"))
    assert client.chat.completions.create(model="base", messages=ASKED, temperature=0, max_tokens=8).choices != reply.choices


def test_streams_of_both_clients_say_the_same_as_whole_answers(served, client):
    asked = {"model": "x", "messages": ASKED, "temperature": 0, "max_tokens": 12}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert len(chunks) > 4 and {chunk.model for chunk in chunks} == {"x"} and chunks[-1].usage == whole.usage
    other = groq.Groq(base_url=served.address, api_key="any", max_retries=0)
    last = list(other.chat.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in last) == whole.choices[0].message.content
    assert last[-1].x_groq.usage.total_tokens == whole.usage.total_tokens
    text = client.completions.create(model="base", prompt="A good life", max_tokens=5, temperature=0)
    assert text.usage.completion_tokens == 5 and text.choices[0].text


def test_sampling_seeds_presets_stops_and_scores_go_with_it(served, client):
    def text(**fields):
        return client.chat.completions.create(model="base", messages=ASKED, max_tokens=12, **fields).choices

    first = text(temperature=0.7, top_p=0.5, seed=2**63 - 1, n=3)
    asked = served.asked("/v1/completions")[-3:]
    assert {(each["temperature"], each["top_p"]) for each in asked} == {(0.7, 0.5)}
    assert sorted(each["seed"] for each in asked) == [-(2**63), 1 - 2**63, 2**63 - 1], "one each, and all in vLLM's range"
    assert len({choice.message.content for choice in first}) == 3
    assert text(temperature=0.7, top_p=0.5, seed=2**63 - 1)[0].message.content == first[0].message.content
    text(extra_body={"preset": "creative"})
    assert (served.asked("/v1/completions")[-1]["temperature"], served.asked("/v1/completions")[-1]["top_p"]) == (0.9, 0.95)
    whole = text(temperature=0)[0].message.content
    stopped = text(temperature=0, stop=[whole[4:7]])[0]
    assert stopped.message.content == whole[: whole.index(whole[4:7])] and stopped.finish_reason == "stop"
    scored = text(temperature=0, logprobs=True, top_logprobs=2)[0].logprobs.content
    assert len(scored) == 12 and scored[0].logprob == -0.5 and [each.logprob for each in scored[0].top_logprobs] == [-0.5, -1.0]
    assert b"".join(bytes(each.bytes) for each in scored).decode("utf-8", "replace").startswith(whole[:5])


def test_what_needs_a_bank_is_refused_with_what_to_do(served, adapters):
    adapters("y", 2)
    mixed = served.chat(model="mix:x=0.5,y=0.5")
    assert mixed.status_code == 400 and "python -m core merge --adapters x,y" in mixed.json()["error"]["message"]
    for path in ("/console/losses", "/console/shares", "/rag/answers"):
        reply = served.post(path)
        assert reply.status_code == 400 and "This engine is vLLM" in reply.json()["error"]["message"]
    route = paths.merged_adapters() / "r"
    route.mkdir(parents=True)
    (route / paths.ROUTER).touch()
    assert "can't follow a route" in served.chat(model="r").json()["error"]["message"]
    assert "r" not in [each["id"] for each in httpx.get(f"{served.address}/v1/models").json()["data"]]
    unknown = served.chat(model="z")
    assert unknown.status_code == 404 and unknown.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"messages": []}, 400), ({"temperature": 9}, 400), ({"max_tokens": 5000}, 400), ({"tools": [{}]}, 400), ({"preset": "loud"}, 400)],
)
def test_bad_requests_get_openais_errors(served, fields, status):
    reply = served.chat(**fields)
    assert reply.status_code == status and reply.json()["error"].keys() == {"message", "type", "param", "code"}


def test_errors_of_vllm_become_ours(served):
    (served.folder / "html").touch()
    reply = served.chat()
    assert reply.status_code == 503 and "vLLM refuses this (status 500)" in reply.json()["error"]["message"]
    assert "html" not in reply.text and "Traceback" not in reply.text
    events = served.chat(stream=True).text
    assert '"error"' in events and events.endswith("data: [DONE]\n\n") and "html" not in events


def test_a_client_that_leaves_is_not_answered_on(served):
    (served.folder / "slow").touch()
    with httpx.stream("POST", f"{served.address}/v1/chat/completions", json=_long(stream=True)) as reply:
        next(line for line in reply.iter_lines() if '"content": "' in line and '"content": ""' not in line)
    until(lambda: (served.folder / "hung_up.jsonl").exists())
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.address}/v1/chat/completions", json=_long(), timeout=1)
    until(lambda: len((served.folder / "hung_up.jsonl").read_text().splitlines()) == 2)
    until(lambda: served.health()["answers"] == 0)


def test_many_at_once_get_their_own_answers(served, adapters):
    adapters("y", 2)
    (served.folder / "slow").touch()
    names = ["base", "x", "y"] * 8
    alone = {name: served.chat(model=name).json()["choices"][0]["message"]["content"] for name in set(names)}
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(lambda name: served.chat(model=name).json()["choices"][0]["message"]["content"], names))
    assert found == [alone[name] for name in names] and len(set(alone.values())) == 3
    health = served.health()
    assert health["tokens"] >= 8 * len(names) and [each["name"] for each in health["in_bank"]] == ["x", "y"]


def test_the_console_asks_adapters_too(served):
    rows = [{"key": name, "question": "Why?", "mix": mix} for name, mix in (("base", None), ("x", {"adapters": ["x"]}))]
    text = served.post("/console/answers", session="a", rows=rows, max_new_tokens=4).text
    assert text.count('"done": "length"') == 2 and '"key": "x"' in text


def test_a_death_breaks_off_what_is_under_way_and_says_so(served):
    (served.folder / "slow").touch()
    replies = []
    asking = threading.Thread(target=lambda: replies.append(served.chat(max_tokens=40)))
    asking.start()
    until(lambda: served.health()["answers"] == 1)
    served.kill()
    asking.join()
    assert replies[0].status_code == 503 and "vLLM broke off" in replies[0].json()["error"]["message"]
    until(lambda: served.health()["state"] == "restarting")
    during, health = served.chat(), served.health()
    assert during.status_code == 503 and during.headers["retry-after"] == "5" and "SIGKILL" in health["said"]
    (served.folder / "slow").unlink()
    until(lambda: served.health()["state"] == "ready")
    assert served.health()["restarts"] == 1 and len(served.started()) == 2
    assert served.chat(model="x").status_code == 200, "its adapter is loaded again"


def test_it_sleeps_when_nobody_asks_and_a_question_wakes_it(serve):
    served = serve(idle_minutes=0.01)
    until(lambda: served.health()["state"] == "asleep")
    assert (served.folder / "ended_well").exists() and served.health()["loaded"] is False
    assert served.chat().status_code == 200 and len(served.started()) == 2 and served.health()["restarts"] == 0


def _long(**fields):
    return {"model": "base", "messages": ASKED, "temperature": 0, "max_tokens": 40, **fields}
