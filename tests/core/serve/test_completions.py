"""What OpenAI's API may ask for beside text: log-probabilities, several answers, plain prompts, presets, seeds."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from core.models.spelling import Spelling
from core.presets import GENERATION
from tests.core.serve.asking import ASKED, chat, greedy, prompt_of, text
from tests.core.serve.conftest import until


@pytest.mark.parametrize("temperature", [0, 1.3])
def test_log_probabilities_are_those_of_transformers(client, adapters, tiny_base, tokenizer, temperature):
    folder = adapters("x", 1)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folder).eval()
    reply = chat(client, model="x", logprobs=True, top_logprobs=4, temperature=temperature, seed=2, max_tokens=24)
    content = reply.choices[0].logprobs.content
    assert b"".join(bytes(each.bytes) for each in content).decode("utf-8", "replace") == reply.choices[0].message.content
    spelled = {bytes(each.bytes): each.logprob for each in content[0].top_logprobs}
    assert len(content) == 24 == reply.usage.completion_tokens and len(spelled) == 4
    ids = prompt_of(tokenizer)
    spelling = Spelling(tokenizer)
    ids_by_bytes = {spelling.bytes(token): token for token in range(len(tokenizer))}
    for each in content:
        with torch.no_grad():
            expected = model(input_ids=ids).logits[0, -1].double().log_softmax(-1)
        assert [other.logprob for other in each.top_logprobs] == pytest.approx(expected.topk(4).values.tolist(), abs=1e-4)
        token = ids_by_bytes[bytes(each.bytes)]
        assert each.logprob == pytest.approx(float(expected[token]), abs=1e-4)
        ids = torch.cat([ids, torch.tensor([[token]])], 1)


def test_a_stream_tells_scores_with_the_text_that_they_make(client):
    whole = chat(client, logprobs=True, top_logprobs=2, max_tokens=40)
    chunks = [chunk.choices[0] for chunk in chat(client, logprobs=True, top_logprobs=2, max_tokens=40, messages=ASKED, stream=True)]
    streamed = [entry for choice in chunks if choice.logprobs for entry in choice.logprobs.content]
    assert streamed == whole.choices[0].logprobs.content
    chat(client, max_tokens=41)  # the second stream is live, not out of memory
    told = scored = 0
    for chunk in chat(client, logprobs=True, max_tokens=42, stream=True):
        choice = chunk.choices[0]
        told += len((choice.delta.content or "").encode())
        scored += sum(len(each.bytes) for each in choice.logprobs.content) if choice.logprobs else 0
        assert scored <= told or choice.finish_reason, "no score runs ahead of its text"


def test_a_stop_text_takes_the_scores_behind_it_along(client):
    whole = chat(client, logprobs=True, max_tokens=30).choices[0]
    stop = whole.message.content[10:13]
    cut = chat(client, logprobs=True, max_tokens=30, stop=stop).choices[0]
    spelled = [bytes(each.bytes) for each in cut.logprobs.content]
    assert b"".join(spelled).decode("utf-8", "replace").startswith(cut.message.content)
    assert len(cut.message.content) < len(whole.message.content) and len(spelled) < len(whole.logprobs.content)


def test_several_answers_are_drawn_with_seeds_of_their_own(client):
    reply = chat(client, n=3, temperature=1, seed=7, max_tokens=12)
    texts = [choice.message.content for choice in reply.choices]
    assert [choice.index for choice in reply.choices] == [0, 1, 2] and len(set(texts)) == 3
    assert texts == [text(client, temperature=1, seed=seed, max_tokens=12) for seed in (7, 8, 9)]
    assert reply.usage.completion_tokens == 36 and reply.usage.prompt_tokens == chat(client).usage.prompt_tokens
    pieces = {0: "", 1: "", 2: ""}
    ends = []
    for chunk in chat(client, n=3, temperature=1, seed=7, max_tokens=12, stream=True):
        pieces[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        ends += [chunk.choices[0].finish_reason] if chunk.choices[0].finish_reason else []
    assert list(pieces.values()) == texts and ends == ["length"] * 3
    same = chat(client, n=2)
    assert same.choices[0].message.content == same.choices[1].message.content == text(client)


def test_plain_completions_go_on_from_the_prompt_itself(client, tiny_base, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    prompts = ["What is a good", "Once upon a time"]
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    expected = [tokenizer.decode(greedy(model, torch.tensor([each]), 16), skip_special_tokens=True) for each in ids]
    for prompt in (prompts, ids):
        reply = client.completions.create(model="base", prompt=prompt, temperature=0)
        assert [choice.text for choice in reply.choices] == expected and reply.object == "text_completion"
        assert reply.usage.prompt_tokens == sum(map(len, ids)) and reply.usage.completion_tokens == 32
    assert client.completions.create(model="base", prompt=ids[0], temperature=0).choices[0].text == expected[0]
    stream = client.completions.create(model="base", prompt=prompts[0], temperature=0, stream=True, max_tokens=20)
    streamed = "".join(chunk.choices[0].text for chunk in stream)
    assert streamed.startswith(expected[0]) and len(streamed) > len(expected[0])
    twice = client.completions.create(model="base", prompt=prompts, temperature=1, seed=1, n=2, max_tokens=4)
    assert [choice.index for choice in twice.choices] == [0, 1, 2, 3] and twice.usage.prompt_tokens == sum(map(len, ids))


def test_plain_completions_list_their_scores(client):
    reply = client.completions.create(model="base", prompt="What is", temperature=0, logprobs=3, max_tokens=12)
    scores, answer = reply.choices[0].logprobs, reply.choices[0].text
    assert len(scores.tokens) == len(scores.token_logprobs) == len(scores.top_logprobs) == 12
    if "\N{REPLACEMENT CHARACTER}" not in answer:
        assert "".join(scores.tokens) == answer and all(
            answer[at:].startswith(token) for at, token in zip(scores.text_offset, scores.tokens, strict=True)
        )
    assert all(max(top.values()) == pytest.approx(own) for top, own in zip(scores.top_logprobs, scores.token_logprobs, strict=True)), (
        "greedy"
    )


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"prompt": ""}, "prompt", "none of them empty"),
        ({"prompt": []}, "prompt", "it should be a text, token ids"),
        ({"prompt": [999_999]}, "prompt", "Token 999999 is beyond the"),
        ({"prompt": "a " * 2000}, "prompt", "Shorten prompt"),
        ({"prompt": ["a"] * 65, "n": 2}, "n", "65 prompts with n=2 are more than the 128 answers"),
        ({"prompt": "a", "echo": True}, "echo", "doesn't repeat the prompt"),
        ({"prompt": "a", "best_of": 3}, "best_of", "Ask for n"),
        ({"prompt": "a", "suffix": "b"}, "suffix", "Leave suffix out"),
    ],
)
def test_prompts_that_cannot_be_gone_on_from(client, fields, param, said):
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model="base", **fields)
    assert said in error.value.body["message"] and str(error.value.body["param"]).startswith(param)


def test_presets_are_their_fields_and_fields_win(client):
    fixed = {"temperature": None, "seed": 3, "max_tokens": None}
    for name, fields in GENERATION.items():
        few = {} if "max_tokens" in fields else {"max_tokens": 24}
        by_name = chat(client, **fixed | few, extra_body={"preset": name})
        by_field = chat(client, **fixed | few | fields | {"seed": 3})
        assert by_name.choices[0] == by_field.choices[0] and by_name.usage.completion_tokens in (24, 512)
    drawn = [text(client, temperature=None, extra_body={"preset": "deterministic"}) for _ in range(2)]
    assert drawn[0] == drawn[1] == text(client, temperature=0.3, top_p=0.85, seed=0)
    assert text(client, temperature=0, extra_body={"preset": "creative"}) == text(client), "temperature 0 was given"


def test_no_place_is_lost_to_answers_that_were_not_read(client, served):
    for fields in ({"n": 3, "temperature": 1}, {"logprobs": True}):
        stream = chat(client, stream=True, max_tokens=900, **fields)
        next(iter(stream))
        stream.close()
    until(lambda: served.health()["answers"] == 0)
    assert math.isfinite(chat(client, logprobs=True).choices[0].logprobs.content[0].logprob)


def test_seeds_below_zero_are_seeds_of_their_own(client):
    texts = [choice.message.content for choice in chat(client, n=3, temperature=1, seed=-1, max_tokens=12).choices]
    assert len(set(texts)) == 3


@pytest.mark.parametrize("message", ["\ud800", "a \udfff b"])
def test_half_characters_are_refused(client, served, message):
    for path, more in (("/v1/chat/completions", {}), ("/console/shares", {"answer": "a", "token": 0})):
        body = json.dumps({"model": "base", "messages": [{"role": "user", "content": message}]} | more)
        reply = httpx.post(f"{served.address.address}{path}", content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code == 400 and "half a character" in reply.json()["error"]["message"]


def test_what_is_remembered_is_bounded_by_what_it_holds(client, served, monkeypatch):
    monkeypatch.setattr("core.serve.answers.KEPT_SCORES", 300)
    for seed in range(4):
        chat(client, temperature=1, seed=seed, logprobs=True, top_logprobs=9, max_tokens=10)
    answers = served.engine._answers
    assert len(answers._finished) == 3 and answers._scores_kept == 300


def test_no_more_wait_than_may_however_fast_they_come(serve):
    served = serve(side_by_side=2, most_waiting=6)
    client = openai.OpenAI(base_url=f"{served.address.address}/v1", api_key="any", max_retries=0)

    def ask(nth):
        try:
            return len(chat(client, n=4, temperature=1, seed=nth * 10, max_tokens=200).choices)
        except openai.RateLimitError as error:
            return error.response.headers["retry-after"]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(6)))
    assert found.count(4) == 2 and found.count("5") == 4
