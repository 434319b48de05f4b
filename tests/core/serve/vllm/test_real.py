"""The real vLLM, from .venv-vllm (make vllm): its numbers beside PEFT's, adapters at run time, its death and its return.

On a tiny model with random adapters, and on the bundled one with shipped adapters. Minutes on a CPU.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import threading

import groq
import httpx
import openai
import psutil
import pytest
import torch
import uvicorn
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from core import paths
from core.config import ServeConfig
from core.errors import UserError
from core.models import bundled, load
from core.models.spelling import Spelling
from core.serve import guard
from core.serve.vllm import environment, gateway
from core.serve.vllm.engine import Engine
from tests.core.serve.conftest import until

try:
    environment.python()
    MISSING = ""
except UserError as error:
    MISSING = str(error)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

QUESTIONS = ("What is a good life?", "Why do people keep promises?", "Name one thing that burns.", "What should I do with my anger?")
TOKENS = 64
NEAR_TIE = 1e-4
"""Two logits that are closer than this may change places."""
START_SECONDS = 400


class Served:
    """The real thing behind its gateway."""

    def __init__(self, engine, address, model):
        self.engine, self.address, self.model = engine, address, model
        self.client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0, timeout=300)

    def health(self):
        return httpx.get(f"{self.address}/health", timeout=30).json()

    def chat(self, model, question, **fields):
        asked = {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": TOKENS, **fields}
        return self.client.chat.completions.create(**asked)


@pytest.fixture(scope="module", params=["tiny", "bundled"])
def served(request, tiny_base, tmp_path_factory):
    if request.param == "bundled" and not bundled.gguf():
        pytest.skip("the bundled model is not installed: make setup")
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCEUM_HOME", str(home))
        model = str(_tiny(tiny_base, home / "models" / "tiny")) if request.param == "tiny" else "bundled"
        _adapters(model)
        config = ServeConfig(engine="vllm", base_model=model)
        engine = Engine(config, print)
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(guard.guarded(gateway.make(engine), config, "a token"), log_level="error"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        engine.begin()
        thread.start()
        assert engine.watched.wait(START_SECONDS), engine.watched.said
        yield Served(engine, f"http://127.0.0.1:{listening.getsockname()[1]}", model)
        engine.leave()
        server.should_exit = True
        thread.join()
        engine.end()


@pytest.fixture(autouse=True)
def same_home(served, monkeypatch):
    """The engine's, for all tests of a model."""
    monkeypatch.setenv("LYCEUM_HOME", str(served.engine.loras._folder.parents[2]))


def _tiny(like, folder):
    """A random Llama whose heads have 32 numbers, the fewest that vLLM's attention on CPUs takes."""
    shutil.copytree(like, folder)
    config = LlamaConfig.from_pretrained(like, hidden_size=128, head_dim=32, intermediate_size=256)
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _adapters(model):
    shelf = paths.adapters()
    shelf.mkdir()
    if model == "bundled":
        for name in ("cynic-lora", "hacker-lora"):
            shutil.copytree(paths.PROJECT / "adapters" / name, shelf / name)
        return
    from peft import LoraConfig, get_peft_model

    for seed, (name, fields) in enumerate({"x": {"use_rslora": True}, "y": {"r": 12, "rank_pattern": {"q_proj": 3}}}.items()):
        torch.manual_seed(seed)
        config = LoraConfig(
            **{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"], "task_type": "CAUSAL_LM", **fields}
        )
        tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model), config)
        for key, tensor in tuned.named_parameters():
            if ".lora_" in key:
                torch.nn.init.normal_(tensor, std=0.1)
        tuned.save_pretrained(shelf / name)


@pytest.fixture(scope="module")
def reference(served):
    """`reference(adapter)`: the model by transformers and PEFT, fp32, and its tokenizer."""
    folder = load.resolve(served.model)

    def make(name):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model = PeftModel.from_pretrained(model, paths.adapters() / name) if name != "base" else model
        return model.eval(), AutoTokenizer.from_pretrained(folder)

    return make


def names():
    return ["base", *sorted(each.name for each in paths.adapters().iterdir())]


def test_log_probabilities_and_greedy_answers_are_pefts(served, reference):
    worst, tokens, parted = 0.0, 0, 0
    for name in names():
        model, tokenizer = reference(name)
        spelling = Spelling(tokenizer)
        ids = {spelling.bytes(token): token for token in reversed(range(len(tokenizer)))}
        for question in QUESTIONS:
            choice = served.chat(name, question, logprobs=True).choices[0]
            told = choice.logprobs.content
            prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)["input_ids"]
            answer = [ids[bytes(each.bytes)] for each in told]
            with torch.no_grad():
                found = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 :].log_softmax(-1)
            for place, (token, said) in enumerate(zip(answer, told, strict=True)):
                worst, tokens = max(worst, abs(float(found[place, token]) - said.logprob)), tokens + 1
                top = found[place].topk(2)
                if int(top.indices[0]) != token:
                    assert float(top.values[0] - found[place, token]) < NEAR_TIE, f"{name}: another token than PEFT's at {place}"
                    parted += 1
                    break
    print(f"\n{served.model}: {tokens} log-probabilities, at most {worst:.2g} from PEFT's; {parted} answers part at a near-tie")
    assert worst < 1e-3 and tokens > 300


def test_an_adapter_answers_as_soon_as_it_is_there_and_a_changed_one_anew(served):
    first, other = names()[1], names()[2]
    new = paths.adapters() / "new"
    shutil.copytree(paths.adapters() / first, new)
    before = served.chat("new", QUESTIONS[0]).choices[0].message.content
    assert before == served.chat(first, QUESTIONS[0]).choices[0].message.content
    shutil.rmtree(new)
    shutil.copytree(paths.adapters() / other, new)
    after = served.chat("new", QUESTIONS[0]).choices[0].message.content
    assert after == served.chat(other, QUESTIONS[0]).choices[0].message.content != before
    shutil.rmtree(new)
    with pytest.raises(openai.NotFoundError):
        served.chat("new", QUESTIONS[0])


def test_both_official_clients_stream(served):
    name = names()[1]
    whole = served.chat(name, QUESTIONS[0], max_tokens=16).choices[0].message.content
    other = groq.Groq(base_url=served.address, api_key="any", max_retries=0, timeout=300)
    for completions in (served.client.chat.completions, other.chat.completions):
        asked = [{"role": "user", "content": QUESTIONS[0]}]
        chunks = list(completions.create(model=name, messages=asked, temperature=0, max_tokens=16, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole and len(chunks) > 8
    assert len(served.chat("base", QUESTIONS[0], temperature=1, n=2, max_tokens=4).choices) == 2


@pytest.mark.parametrize("which", ["server", "worker"])
def test_a_killed_vllm_is_noticed_and_started_again(served, which):
    name = names()[1]
    before, restarts = served.chat(name, QUESTIONS[0]).choices[0].message.content, served.health()["restarts"]
    os.kill(_process(served, which).pid, signal.SIGKILL)
    until(lambda: served.health()["state"] == "restarting", 20)
    assert "starts again" in served.health()["said"] or "starting again" in served.health()["said"]
    with pytest.raises(openai.APIStatusError) as refused:
        served.chat(name, QUESTIONS[0])
    assert refused.value.status_code == 503 and json.loads(refused.value.response.text)["error"]["message"]
    until(lambda: served.health()["state"] == "ready", START_SECONDS)
    assert served.health()["restarts"] == restarts + 1
    assert served.chat(name, QUESTIONS[0]).choices[0].message.content == before


def _process(served, which):
    for each in served.engine.watched.processes:
        words = each.cmdline()
        if which == "server" and "keeper.py" not in " ".join(words) and "vllm.entrypoints.openai.api_server" in words:
            return each
        if which == "worker" and words and "VLLM::Worker" in words[0]:
            return each
    raise AssertionError(f"no {which} in {[psutil.Process(each.pid).cmdline() for each in served.engine.watched.processes]}")
