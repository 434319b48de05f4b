"""Streamed answers equal those of the batch generator and of transformers + peft; requests come, go and supersede each other."""

import random
import threading

import httpx
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from core import adapter, paths, runs
from core.bank import AdapterBank
from core.config import MergeConfig
from core.data.prompt import Prompter
from core.errors import UserError
from core.merge import run as merging
from core.models import load
from core.models.generate import end_tokens, generate
from core.serve import client
from core.workspace import Workspace
from tests.core.serve.conftest import together, until

QUESTION = "What is a good life?"
SYSTEM = "Answer as a {category}."


def row(key, mix=None, question=QUESTION, category="cynic", **fields):
    return {"key": key, "question": question, "category": category, "mix": mix, **fields}


@pytest.fixture(scope="module")
def base(tiny_base):
    return load.load(str(tiny_base), device="cpu")


def expected(base, weights, question=QUESTION, tokens=24, said=""):
    """What the batch generator answers: text by weights of the adapters by name."""
    prompt = Prompter(base.tokenizer, SYSTEM).prompt(question, "cynic") + base.tokenizer(said)["input_ids"]
    bank = AdapterBank.load(base.model, [adapter.read(adapter.find(name)) for name in weights])
    try:
        mixing = (lambda rows: bank.mixing(torch.tensor(list(weights.values())))) if weights else None
        return generate(base, [prompt], max_new_tokens=tokens, batch_size=1, mixing=mixing)[0]
    finally:
        bank.detach()


def test_base_adapter_and_mix_stream_side_by_side(serve, adapters, base):
    adapters("x", 1), adapters("y", 2, r=6)
    rows = [row("base"), row("own", {"adapters": ["x"]}), row("mix", {"adapters": ["x", "y"], "weights": [0.5, -0.25]})]
    served = serve()
    events = list(served.answers(*rows, system_prompt=SYSTEM, max_new_tokens=24))
    references = {"base": expected(base, {}), "own": expected(base, {"x": 1.0}), "mix": expected(base, {"x": 0.5, "y": -0.25})}
    assert together(events) == {key: answer.text for key, answer in references.items()}
    assert len(set(together(events).values())) == 3
    for key, answer in references.items():
        mine = [event for event in events if event["key"] == key]
        assert mine[-1] == {"key": key, "done": answer.finish, "tokens": len(answer.tokens)}
        assert sum("text" in event for event in mine) > 5
        assert not any(event["text"].endswith("\N{REPLACEMENT CHARACTER}") for event in mine[:-2])
    assert max(served.passes) == 3, "the three answers share each pass"


def test_an_answer_that_ends_by_itself_says_so(serve, base, monkeypatch):
    served = serve()
    tokens = expected(base, {}, tokens=8).tokens
    served.engine._loaded.ends = frozenset([tokens[5]])
    place = tokens.index(tokens[5])
    *_, last = served.answers(row("base"), system_prompt=SYSTEM, max_new_tokens=8)
    assert last == {"key": "base", "done": "stop", "tokens": place}


def test_all_weights_zero_and_no_mix_are_the_base_model(serve, adapters, base):
    adapters("x", 1)
    texts = serve().texts(row("base"), row("off", {"adapters": ["x"], "weights": [0]}), system_prompt=SYSTEM, max_new_tokens=12)
    assert texts["off"] == texts["base"] == expected(base, {}, tokens=12).text


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": "ties", "density": 0.5},
        {"strategy": "dare_linear", "density": 0.6, "seed": 3},
        {"strategy": "svd", "rank": 2},
        {"strategy": "tsv"},
        {"strategy": "linear", "space": "factor"},
    ],
    ids=lambda fields: f"{fields['strategy']}-{fields.get('space', 'delta')}",
)
def test_other_strategies_answer_as_their_merged_folder_does_in_peft(serve, adapters, tiny_base, base, fields):
    adapters("x", 1), adapters("y", 2)
    config = {"adapters": ["x", "y"], "weights": [0.8, 0.6], **fields}
    texts = serve().texts(row("mix", config), system_prompt=SYSTEM, max_new_tokens=24)
    merged = MergeConfig(**config, name="baked")
    merging.run(merged, Workspace(runs.create("merge", merged.model_dump(mode="json"))))
    assert texts["mix"] == in_peft(tiny_base, base, paths.merged_adapters() / "baked", 24)
    assert texts["mix"] != expected(base, {"x": 0.8, "y": 0.6}).text or fields["strategy"] == "tsv"


def in_peft(tiny_base, base, folder, tokens):
    """The greedy answer of plain transformers + peft."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folder).eval()
    prompt = torch.tensor([Prompter(base.tokenizer, SYSTEM).prompt(QUESTION, "cynic")])
    made = model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=tokens,
        do_sample=False,
        eos_token_id=sorted(end_tokens(base)),
        pad_token_id=base.tokenizer.pad_token_id,
    )
    return base.tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True).strip()


def test_a_temporary_adapter_says_how_far_it_is_and_is_made_once(serve, adapters):
    adapters("x", 1), adapters("y", 2)
    mix = {"adapters": ["x", "y"], "strategy": "ties", "density": 0.5}
    served = serve()
    first = list(served.answers(row("mix", mix), max_new_tokens=4))
    assert [event["merging"] for event in first if "merging" in event][-1] == 1.0
    again = list(served.answers(row("mix", mix, question="Another?"), max_new_tokens=4))
    assert not any("merging" in event for event in again)


def test_continue_goes_on_where_it_stood(serve, adapters, base):
    adapters("x", 1), adapters("y", 2)
    served = serve()
    whole = served.texts(row("mix", {"adapters": ["x"]}), system_prompt=SYSTEM, max_new_tokens=8)["mix"]
    *texts, last = served.answers(row("mix", {"adapters": ["y"]}, so_far=whole), system_prompt=SYSTEM, max_new_tokens=20)
    said = base.tokenizer(whole)["input_ids"]
    assert base.tokenizer.decode(said) == whole
    reference = expected(base, {"y": 1.0}, tokens=20 - len(said), said=whole)
    rest = base.tokenizer.decode(said + reference.tokens, skip_special_tokens=True)[len(whole) :]
    assert "".join(event["text"] for event in texts) == rest.rstrip()
    assert last == {"key": "mix", "done": reference.finish, "tokens": len(said) + len(reference.tokens)}


def test_an_answer_that_is_full_already_is_done_at_once(serve, base):
    served, said = serve(), "A long answer that is here."
    tokens = len(base.tokenizer(said)["input_ids"])
    events = list(served.answers(row("a", so_far=said), max_new_tokens=tokens))
    assert events == [{"key": "a", "done": "length", "tokens": tokens}]
    assert served.passes == []


def test_finished_answers_come_at_once_the_second_time(serve, adapters):
    folder = adapters("x", 1)
    served = serve()
    rows = [row("base"), row("own", {"adapters": ["x"]})]
    first = served.texts(*rows, max_new_tokens=12)
    passes = len(served.passes)
    again = list(served.answers(*rows, max_new_tokens=12, session="another"))
    assert together(again) == first and len(served.passes) == passes
    assert len(again) == 4, "one piece of text and one end each"
    adapters("x", 2)
    assert folder.exists()
    replaced = served.texts(*rows, max_new_tokens=12)
    assert replaced["base"] == first["base"] and replaced["own"] != first["own"], "a replaced adapter answers anew"


def test_a_newer_request_supersedes_the_older_one(serve, adapters):
    adapters("x", 1)
    served = serve()
    older = served.answers(row("mix", {"adapters": ["x"]}), row("base"), max_new_tokens=900)
    for _ in range(8):
        next(older)
    newer = served.answers(row("mix", {"adapters": ["x"], "weights": [0.5]}), max_new_tokens=900)
    next(newer)
    assert served.health()["answers"] == 1
    ends = [event for event in older if "done" in event]
    assert [event["done"] for event in ends] == ["superseded"] * 2
    assert all(4 <= event["tokens"] < 900 for event in ends)
    newer.close()


def test_a_client_that_hangs_up_frees_its_places(serve):
    served = serve()
    events = served.answers(row("a"), row("b", question="Why?"), max_new_tokens=900)
    next(events)
    assert served.health()["answers"] == 2
    events.close()
    until(lambda: served.health()["answers"] == 0)
    assert len(served.passes) < 800, "nobody computed on for nobody"
    assert served.texts(row("a"), max_new_tokens=3), "and the engine goes on"


def test_many_clients_that_break_off_leave_nothing_behind(serve, adapters, base):
    adapters("x", 1), adapters("y", 2)
    served = serve(side_by_side=5)
    right = expected(base, {"x": 0.5, "y": 0.5}, tokens=20).text
    found = []

    def visit(visitor):
        chance = random.Random(visitor)
        for turn in range(6):
            mix = {"adapters": ["x", "y"], "weights": [chance.random(), chance.random()]}
            mix |= chance.choice([{}, {"strategy": "ties", "density": 0.5}])
            rows = [row("mix", mix), row("base", question=f"{visitor} {turn}?")]
            events = served.answers(*rows, session=f"s{visitor % 5}", max_new_tokens=30)
            for _ in range(chance.randrange(12)):
                next(events, None)
            events.close()
        own = row("k", {"adapters": ["x", "y"]})
        found.append(served.texts(own, session=f"own {visitor}", system_prompt=SYSTEM, max_new_tokens=20)["k"])

    visitors = [threading.Thread(target=visit, args=(visitor,)) for visitor in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert found == [right] * 8
    until(lambda: served.health()["answers"] == 0 and not served.engine._loaded.decoding.rows)
    assert not served.engine._answers._streams
    assert max(served.passes) <= 5


def test_two_sessions_at_once_share_their_passes(serve, adapters, base):
    adapters("x", 1)
    served = serve()
    found = {}

    def ask(session, weights, question):
        mix = {"adapters": list(weights), "weights": list(weights.values())} if weights else None
        found[session] = served.texts(row("k", mix, question), session=session, system_prompt=SYSTEM, max_new_tokens=60)["k"]

    asked = {
        "one": ({}, QUESTION),
        "two": ({"x": 1.0}, "Why do people want more than they need, and never less?"),
        "three": ({"x": -0.5}, "Why?"),
    }
    threads = [threading.Thread(target=ask, args=(session, *what)) for session, what in asked.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {session: expected(base, *what, tokens=60).text for session, what in asked.items()}
    assert max(served.passes) >= 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rows": []}, "rows can't be used: List should have at least 1 item"),
        ({"rows": [row("a", {"adapters": ["nope"]})]}, "There is no adapter 'nope'"),
        ({"rows": [row("a", {"adapters": ["x"], "strategy": "tiez"})]}, "Unknown merge strategy 'tiez'"),
        ({"rows": [row("a", {"adapters": ["x"], "weights": [1, 2]})]}, "2 weights were given for 1 adapters"),
        ({"rows": [row("a", {"adapters": ["x"], "strategy": "ties"})]}, "density was not given"),
        ({"rows": [row("a", {"adapters": ["x"], "weights": ["heavy"]})]}, "rows.0.mix.weights.0 can't be used"),
        ({"rows": [row("a", {"adapters": ["x"], "colour": "red"})]}, "rows.0.mix.colour can't be used: Extra inputs are not permitted"),
        ({"rows": [row("a"), row("a")]}, "The key 'a' stands twice"),
        ({"rows": [row("a")], "max_new_tokens": 0}, "max_new_tokens can't be used"),
        ({"rows": [row("a", question="x " * 900)], "max_new_tokens": 600}, "more than the 1024 that the base model can see"),
        ({"rows": [row("a", {"adapters": ["foreign"]})]}, "'foreign' was trained on elsewhere"),
        ({"rows": [row("a")], "session": ""}, "session can't be used"),
    ],
)
def test_bad_requests_get_one_sentence(serve, adapters, fields, said):
    adapters("x", 1)
    (adapters("foreign", 2) / "run.json").write_text('{"role": "own", "base_model": "elsewhere", "base_hash": "0123"}')
    served = serve()
    with pytest.raises(UserError) as error:
        list(client.answers(served.address, **{"session": "a", **fields}))
    assert said in str(error.value) and "\n" not in str(error.value) and "Traceback" not in str(error.value)
    assert served.passes == []


def test_an_adapter_that_does_not_fit_fails_alone(serve, adapters, home):
    weights = adapters("wide", 1) / "adapter_model.safetensors"
    save_file({key: torch.cat([each, each], 1) if "lora_A" in key else each for key, each in load_file(weights).items()}, weights)
    events = list(serve().answers(row("base"), row("wide", {"adapters": ["wide"]}), max_new_tokens=5))
    assert [event["error"] for event in events if "error" in event] == [event["error"] for event in events if event["key"] == "wide"]
    assert "does not fit this base model" in next(event["error"] for event in events if event["key"] == "wide")
    assert any(event == {"key": "base", "done": "length", "tokens": 5} for event in events)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"session": ', "The request is no JSON: Expecting value at character 12."),
        ("[]", "The request is no JSON object. Send one, with the header"),
        ("", "The request can't be used: Field required."),
        ('{"session": "a", "rows": [{"key": "a", "question": "\\ud800"}]}', "rows.0.question can't be used"),
        (
            '{"session": "a", "rows": [{"key": "a", "question": "?", "mix": {"adapters": ["x"], "weights": [NaN]}}]}',
            "weights.0 can't be used",
        ),
        (
            '{"session": "a", "rows": [{"key": "a", "question": "?", "mix": {"adapters": ["../../etc"]}}]}',
            "There is no adapter '../../etc'",
        ),
    ],
)
def test_bad_bodies_get_one_sentence(serve, body, said):
    reply = httpx.post(f"{serve().address.address}/console/answers", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400 and said in reply.json()["error"]["message"]


def test_other_hosts_names_are_refused(serve):
    served = serve()
    assert httpx.get(f"{served.address.address}/health", headers={"Host": "evil.example"}).status_code == 403
