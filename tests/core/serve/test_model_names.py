"""Who answers, by name: mixes and routes as the bank and peft have them, many in one batch, and what on disk is no model."""

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import openai
import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from core import adapter, paths, routing
from core.bank import AdapterBank
from core.serve import offered
from core.serve.names import MIX, mix_weights
from tests.core.serve.asking import a_route, chat, greedy, prompt_of, text


def test_a_mix_by_name_is_pefts_exact_sum(client, adapters, tiny_base, tokenizer):
    folders = [adapters("x", 1, r=4), adapters("y", 2, r=8, lora_alpha=4)]
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folders[0], adapter_name="x")
    model.load_adapter(folders[1], adapter_name="y")
    for weights in ({"x": 0.5, "y": 0.5}, {"x": 1.5, "y": 0.25}):
        name = "m" + "".join(filter(str.isdigit, str(weights)))
        model.add_weighted_adapter(["x", "y"], list(weights.values()), name, combination_type="cat")
        model.set_adapter(name)
        expected = tokenizer.decode(greedy(model, prompt_of(tokenizer), 24), skip_special_tokens=True)
        asked = "mix:" + ",".join(f"{each}={weight}" for each, weight in weights.items())
        assert text(client, model=asked, max_tokens=24) == expected != text(client, max_tokens=24)
    assert text(client, model="mix:x=0,y=0") == text(client), "all off is the base model"
    assert text(client, model="mix:x,y") == text(client, model="mix:x=.5,y=.5")


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("mix:", openai.BadRequestError, "names no adapters"),
        ("mix:x=1,gone=1", openai.NotFoundError, "offers no model 'gone'. It offers: base, x."),
        ("mix:../x=1", openai.NotFoundError, "offers no model"),
        ("mix:x=1e39", openai.BadRequestError, "beyond what float32 holds"),
        ("route", openai.NotFoundError, "offers no model 'route'"),
    ],
)
def test_mixes_that_cannot_be(client, adapters, name, kind, said):
    adapters("x", 1)
    with pytest.raises(kind, match=said):
        text(client, model=name)


def test_a_route_by_token_is_the_bank_under_its_router(client, served, adapters, tiny_base, tokenizer):
    folders = [adapters("x", 1), adapters("y", 2)]
    folder = a_route(["x", "y"], "arrow")
    model = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    bank = AdapterBank.load(model, [adapter.read(each) for each in folders])
    with bank.mixing(routing.load(folder).token_weights):
        expected = tokenizer.decode(greedy(model, prompt_of(tokenizer), 24), skip_special_tokens=True)
    assert [each.id for each in client.models.list()] == ["base", "x", "y", "arrow_way", "route"]
    asked = ["arrow_way", "x", "base", "route", "mix:x=1,y=1"]
    alone = [text(client, model=name, max_tokens=24) for name in asked]
    served.engine._answers._finished.clear()
    with ThreadPoolExecutor(5) as pool:
        beside = list(pool.map(lambda name: text(client, model=name, max_tokens=24), asked))
    assert beside == alone and alone[0] == alone[3] == expected
    assert len(set(alone)) == 4 and max(served.passes) > 1


@pytest.mark.bundled
def test_a_route_by_question_mixes_as_the_question_asks(client, adapters, tiny_data):
    for seed, category in enumerate(("cynic", "lexicon", "hacker")):
        folder = adapters(category, seed + 1)
        (folder / "run.json").write_text(f'{{"role": "own", "categories": ["{category}"]}}')
    folder = a_route(["cynic", "lexicon", "hacker"], "similarity", data=str(tiny_data))
    route = routing.load(folder)
    for question in ("What does a cynic say?", "What is a kludge?"):
        weights = route.weights([question])[0].tolist()
        mix = "mix:" + ",".join(f"{place.name}={weight!r}" for place, weight in zip(route.adapters, weights, strict=True) if weight)
        turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": question}]
        assert text(client, model="similarity_way", messages=turns, max_tokens=24) == text(client, model=mix, messages=turns, max_tokens=24)


def test_a_route_whose_adapter_changed_is_refused_and_the_others_answer(client, adapters):
    adapters("x", 1), adapters("y", 2)
    a_route(["x", "y"], "arrow")
    adapters("y", 3)
    with pytest.raises(openai.BadRequestError, match="'y' has changed since the route 'arrow_way' was made"):
        text(client, model="route")
    assert text(client, model="y")


def test_a_mixed_batch_of_sixteen_is_transformers_and_peft(client, served, adapters, tiny_base, tokenizer):
    """Must-show 2 in small: base, adapters and mixes in one batch, each as if alone, by peft; 64 tokens, near-ties aside."""
    folders = {f"a{seed}": adapters(f"a{seed}", seed) for seed in range(4)}
    models = ["base", *folders, "mix:a0=0.5,a1=0.5", "mix:a1=1,a2=-0.5,a3=0.25", "mix:a0=1,a1=1,a2=1,a3=1"]
    asked = [(name, f"{nth} and what?") for nth in range(2) for name in models]
    gate = threading.Barrier(len(asked))

    def ask(each):
        gate.wait()
        turns = [{"role": "user", "content": each[1]}]
        return chat(client, model=each[0], messages=turns, max_tokens=64, logprobs=True, top_logprobs=2).choices[0]

    with ThreadPoolExecutor(len(asked)) as pool:
        choices = list(pool.map(ask, asked))
    assert max(served.passes) == len(asked) == 16
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folders["a0"], adapter_name="a0")
    for name in list(folders)[1:]:
        model.load_adapter(folders[name], adapter_name=name)
    for (name, question), choice in zip(asked, choices, strict=True):
        with _as(model, name):
            ids = tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )["input_ids"]
            expected = tokenizer.decode(greedy(model, ids, 64), skip_special_tokens=True)
        ties = [at for at, each in enumerate(choice.logprobs.content) if each.top_logprobs[0].logprob - each.top_logprobs[1].logprob < 1e-4]
        sure = "".join(each.token for each in choice.logprobs.content[: min(ties, default=64)])
        assert choice.message.content == expected or (ties and expected.startswith(sure.rstrip("\N{REPLACEMENT CHARACTER}"))), name


def _as(model, name):
    """A context in which the peft model answers as this name says."""
    if name == "base":
        return model.disable_adapter()
    if name.startswith(MIX):
        weights, made = mix_weights(name), f"mix{abs(hash(name))}"
        if made not in model.peft_config:
            model.add_weighted_adapter(list(weights), list(weights.values()), made, combination_type="cat")
        model.set_adapter(made)
    else:
        model.set_adapter(name)
    return nullcontext()


def test_the_same_adapter_under_two_names_adds_up(client, adapters, home):
    folder = adapters("x", 1)
    shutil.copytree(folder, folder.with_name("twin"))
    assert text(client, model="mix:x=0.75,twin=0.75") == text(client, model="mix:x=1.5") != text(client, model="mix:x=0.75")
    assert text(client, model="mix:x=1,twin=-1") == text(client)


def test_a_known_delta_under_a_config_that_says_otherwise_is_refused(client, adapters):
    folder = adapters("x", 1)
    assert text(client, model="x")
    config = json.loads((folder / "adapter_config.json").read_text())
    shutil.copytree(folder, folder.with_name("y"))
    (folder.with_name("y") / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    with pytest.raises(openai.BadRequestError, match="'y' can't join a bank: it has DoRA"):
        text(client, model="y")


def test_folders_that_come_and_go_or_have_no_name_take_nothing_along(client, served, adapters):
    adapters("x", 1)
    (paths.adapters() / os.fsdecode(b"\xff\xfe")).mkdir()
    (paths.adapters() / os.fsdecode(b"\xff\xfe") / "adapter_config.json").write_text("{}")
    assert [each.id for each in client.models.list()] == ["base", "x"] and served.health()["adapters"] == ["x"]
    assert offered._changed(paths.adapters() / "gone") == 0
