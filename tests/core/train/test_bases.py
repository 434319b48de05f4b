"""Another base model is one changed field: Llama-, Mistral- and Qwen-shaped folders, and those whose layers are called otherwise."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from core import adapter, paths, results, runs
from core.bank import target_layers
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.errors import UserError
from core.models.load import load_tokenizer
from core.results import Step
from core.train.run import run
from core.workspace import Workspace

INST = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
"""As Mistral-7B-Instruct has it: a system message is an error."""
SHAPE = {
    **{"vocab_size": 600, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 512},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3},
    "initializer_range": 0.1,
}
QWEN = {"use_sliding_window": True, "sliding_window": 16, "layer_types": ["full_attention", "sliding_attention"]}
BASES: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "llama": ("llama", {}, "own"),
    "mistral": ("mistral", {"sliding_window": 16}, INST),
    "qwen2": ("qwen2", QWEN, "own"),
    "qwen3": ("qwen3", {"head_dim": 16}, "own"),
    "no template": ("llama", {}, None),
    "gpt_neox": ("gpt_neox", {}, None),
    "phi3": ("phi3", {}, "own"),
    "stablelm": ("stablelm", {}, "own"),
}
"""model type, fields of its config, chat template; the last one is no architecture for packed batches."""
TARGETS = {"phi3": {"qkv_proj", "o_proj"}, "gpt_neox": {"query_key_value", "dense"}}
LLAMA = {"q_proj", "k_proj", "v_proj", "o_proj"}


@pytest.fixture
def base_of(tiny_base: Path, tmp_path: Path) -> Callable[..., Path]:
    """`base_of(model type, config fields, chat template)`: a folder as a person downloads it; template None: it brings none."""

    def make(kind: str, fields: dict[str, Any], template: str | None = "own") -> Path:
        folder = tmp_path / f"a-{kind}"
        shutil.copytree(tiny_base, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json", "generation_config.json"))
        if template is None:
            (folder / "chat_template.jinja").unlink()
        elif template != "own":
            (folder / "chat_template.jinja").write_text(template)
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SHAPE, **fields})).save_pretrained(folder)
        return folder

    return make


def train(base: Path, data: Path, **fields: object) -> dict[str, Any]:
    given = {"data": str(data), "base_model": str(base), "categories": "pooled", "max_steps": 12, "learning_rate": 1e-2, **fields}
    config = TrainConfig(**given)
    return run(config, Workspace(runs.create("train", config.model_dump(mode="json"))))


@pytest.mark.parametrize("name", BASES)
def test_a_base_trains_by_its_name_alone(name: str, base_of: Callable[..., Path], tiny_data: Path) -> None:
    kind, fields, template = BASES[name]
    base = base_of(kind, fields, template)
    steps = results.read(paths.home() / train(base, tiny_data)["steps"], Step)
    assert steps["loss"].tail(3).mean() < steps["loss"].head(3).mean() - 0.1
    folder = paths.adapters() / "pooled-lora"
    trained = adapter.read(folder).factors
    assert {layer.rpartition(".")[2] for layer in trained} == TARGETS.get(kind, LLAMA)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    assert {layer for layer, module in theirs.base_model.model.named_modules() if hasattr(module, "lora_A")} == trained.keys()


def test_what_is_no_template_of_its_own_is_said(base_of: Callable[..., Path], tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(base_of("llama", {}, None), tiny_data, max_steps=1)
    assert "a-llama brings no chat template, so prompts follow Alpaca's" in capsys.readouterr().out


def test_a_system_prompt_reaches_a_model_whose_template_refuses_it(
    base_of: Callable[..., Path], tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = base_of("mistral", {"sliding_window": 16}, INST)
    train(base, tiny_data, max_steps=1, system_prompt="Voice: {category}.")
    assert "a-mistral's chat template takes no system message, so the system prompt opens each question." in capsys.readouterr().out
    tokenizer = load_tokenizer(str(base))
    prompt = tokenizer.decode(Prompter(tokenizer, "Voice: {category}.").prompt("Why?", "cynic"))
    assert prompt == "<|im_start|>[INST] Voice: cynic.\n\nWhy? [/INST]"


def test_an_ordinary_template_is_not_talked_about(tiny_base: Path) -> None:
    assert Prompter(AutoTokenizer.from_pretrained(tiny_base), "Voice: {category}.").notes() == []


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("llama", {}, LLAMA),
        ("mixtral", {"num_local_experts": 2}, LLAMA),
        ("gemma2", {"head_dim": 16}, LLAMA),
        ("falcon", {"new_decoder_architecture": True}, {"query_key_value", "dense"}),
        ("opt", {"ffn_dim": 96, "word_embed_proj_dim": 64}, {"q_proj", "k_proj", "v_proj", "out_proj"}),
        ("phi", {}, {"q_proj", "k_proj", "v_proj", "dense"}),
        ("mpt", {"d_model": 64, "n_heads": 4, "n_layers": 2}, {"Wqkv", "out_proj"}),
        ("gpt_bigcode", {"n_embd": 64, "n_head": 4, "n_layer": 2}, {"c_attn"}),
    ],
)
def test_auto_is_the_attention_whatever_it_is_called(kind: str, fields: dict[str, Any], expected: set[str]) -> None:
    """gpt_bigcode calls a layer of its attention and one of its MLP c_proj, so neither is meant."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SHAPE, **fields}))
    found = target_layers(model, TrainConfig().target_modules)
    assert {layer.rpartition(".")[2] for layer in found} == expected
    with_more = target_layers(model, ("auto", "all-linear"))
    assert found.keys() <= with_more.keys() == target_layers(model, ("all-linear",)).keys()


def test_models_without_layers_for_an_adapter_get_a_sentence(base_of: Callable[..., Path], tiny_data: Path) -> None:
    with pytest.raises(UserError, match="a base model of type 'gpt2' has none but its output layer"):
        train(base_of("gpt2", {"n_embd": 64, "n_head": 4, "n_layer": 2}), tiny_data)
    mamba = AutoModelForCausalLM.from_config(AutoConfig.for_model("mamba", vocab_size=600, hidden_size=32, num_hidden_layers=1))
    with pytest.raises(UserError, match="target_modules=auto finds no attention layers .* linear layers: dt_proj, in_proj"):
        target_layers(mamba, ("auto",))
