"""Shares of adapters in a token's log-probability: against peft's models at both ends, finite differences between, and closed forms."""

import httpx
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.core.serve.asking import a_route

ASKED = [{"role": "user", "content": "What is a good life?"}]
ANSWER = "A good life is the end of wanting."


def ask(served, **fields):
    given = {"messages": ASKED, "answer": ANSWER, "token": 4, **fields}
    return httpx.post(f"{served.address.address}/console/shares", json=given, timeout=60)


@pytest.fixture(scope="module")
def logprob(tiny_base):
    """`logprob(model, token)`: of the answer's token at this place, by transformers, in nats."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)

    def measured(model, place):
        prompt = tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_dict=True)["input_ids"]
        answer = tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + answer[:place]])).logits[0, -1]
        return float(logits.double().log_softmax(-1)[answer[place]])

    return measured


def test_they_add_up_from_the_base_model_to_the_mix(served, adapters, tiny_base, logprob):
    folders = {name: adapters(name, seed) for seed, name in enumerate(("x", "y", "z"))}
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folders["x"], adapter_name="x").eval()
    for name in ("y", "z"):
        model.load_adapter(folders[name], adapter_name=name)
    weights = {"x": 0.5, "y": -0.25, "z": 1.0}
    model.add_weighted_adapter(list(weights), list(weights.values()), "mix", combination_type="cat")
    model.set_adapter("mix")
    for place in (0, 4):
        found = ask(served, model="mix:" + ",".join(f"{name}={weight}" for name, weight in weights.items()), token=place).json()
        assert found["mix"] == pytest.approx(logprob(model, place), abs=1e-4)
        with model.disable_adapter():
            assert found["base"] == pytest.approx(logprob(model, place), abs=1e-4)
        assert set(found["shares"]) == set(weights)
        assert sum(found["shares"].values()) + found["rest"] == pytest.approx(found["mix"] - found["base"], abs=1e-4)
        assert abs(found["rest"]) <= 0.03 * (1 + abs(found["mix"] - found["base"])) and found["points"] in (4, 8, 16)
        assert found["token"] == found["tokens"][place] and "".join(found["tokens"]) == ANSWER


def test_each_is_the_integral_of_its_gradient(served, adapters, tiny_base, logprob):
    """By finite differences at 41 strengths of both adapters, each nudged apart, on peft's own merges."""
    folders = {name: adapters(name, seed) for seed, name in enumerate(("x", "y"))}
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folders["x"], adapter_name="x").eval()
    model.load_adapter(folders["y"], adapter_name="y")

    def at(x, y):
        model.add_weighted_adapter(["x", "y"], [0.8 * x, 0.6 * y], "now", combination_type="cat")
        model.set_adapter("now")
        found = logprob(model, 4)
        model.delete_adapter("now")
        return found

    strengths, step = torch.linspace(0.0125, 0.9875, 40).tolist(), 0.02
    x = sum(at(a + step, a) - at(a - step, a) for a in strengths) / (2 * step * 40)
    found = ask(served, model="mix:x=0.8,y=0.6").json()
    assert found["shares"]["x"] == pytest.approx(x, abs=0.02 * (1 + abs(x)))


def test_one_adapter_has_it_all_and_a_weight_of_nothing_has_nothing(served, adapters):
    adapters("x", 1), adapters("y", 2)
    alone = ask(served, model="x").json()
    assert alone["shares"]["x"] == pytest.approx(alone["mix"] - alone["base"], abs=0.03 * (1 + abs(alone["mix"] - alone["base"])))
    small = ask(served, model="mix:x=1,y=1e-6").json()
    assert abs(small["shares"]["y"]) < 1e-3 and small["shares"]["x"] == pytest.approx(alone["shares"]["x"], abs=1e-2)


def test_routes_have_shares_too(served, adapters):
    adapters("x", 1), adapters("y", 2)
    a_route(["x", "y"], "arrow")
    found = ask(served, model="arrow_way").json()
    assert set(found["shares"]) == {"x", "y"}
    assert sum(found["shares"].values()) + found["rest"] == pytest.approx(found["mix"] - found["base"], abs=1e-4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "base"}, "'base' has no adapters here"),
        ({"model": "x", "token": 99}, "tokens, so there is none at place 99"),
        ({"model": "x", "answer": ""}, "The answer has 0 tokens"),
        ({"model": "gone"}, "offers no model 'gone'"),
        ({"model": "x", "messages": [{"role": "user", "content": "a " * 1100}]}, "base model can see"),
    ],
)
def test_what_has_no_shares_is_refused(served, adapters, fields, said):
    adapters("x", 1)
    reply = ask(served, **fields)
    assert reply.status_code in (400, 404) and said in reply.json()["error"]["message"]


def test_answers_go_on_meanwhile_and_one_who_leaves_costs_nothing(served, adapters):
    adapters("x", 1)
    events = served.answers({"key": "a", "question": "Why?"}, max_new_tokens=300)
    next(events)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{served.address.address}/console/shares",
            json={"model": "x", "messages": ASKED, "answer": ANSWER, "token": 4},
            timeout=0.02,
        )
    assert ask(served, model="x").status_code == 200
    assert list(events)[-1]["done"] == "length" and not served.engine._shares._tasks
