"""Sizes by formula, against peft on the meta device, published totals, and the memory that the real code takes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, VeraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig

from core import lora_size, model_shapes
from core.config import TrainConfig
from core.data.prompt import Encoded
from core.lora_size import Plan
from core.model_shapes import ATTENTION, MLP, SHAPES, Shape
from core.models import bundled
from core.models.load import resolve
from core.train import METHODS, footprint

PUBLISHED = {
    "SmolLM2-135M": 134_515_008,
    "Qwen3-0.6B": 596_049_920,
    "Gemma-3-1B": 999_885_952,
    "TinyLlama-1.1B": 1_100_048_384,
    "Llama-3.2-1B": 1_235_814_400,
    "Qwen2.5-1.5B": 1_543_714_304,
    "SmolLM3-3B": 3_075_098_624,
    "Qwen3-4B": 4_022_468_096,
    "Llama-2-7B": 6_738_415_616,
    "Mistral-7B": 7_248_023_552,
}
"""Parameters as each model's page on huggingface.co counts them."""
SMALL = Shape(256, 704, 2, 4, 2, 64, 1000, tied=True)


def llama(shape: Shape) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        tie_word_embeddings=shape.tied,
    )


def by_peft(shape: Shape, config: Any) -> tuple[int, int]:
    """(trainable, all) as print_trainable_parameters counts them."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(llama(shape))
        model.tie_weights()
        counted: tuple[int, int] = get_peft_model(model, config, low_cpu_mem_usage=True).get_nb_trainable_parameters()
    return counted


def test_shapes_have_the_published_number_of_weights() -> None:
    assert {name: shape.parameters for name, shape in SHAPES.items()} == PUBLISHED
    assert list(SHAPES) == sorted(SHAPES, key=PUBLISHED.__getitem__)


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ATTENTION + MLP], ids=len)
def test_lora_and_dora_count_as_peft_does(targets: tuple[str, ...]) -> None:
    shape = SHAPES["TinyLlama-1.1B"]
    for method in ("lora", "dora"):
        plan = Plan(shape, method, 8, targets)
        trainable, every = by_peft(shape, LoraConfig(r=8, target_modules=list(targets), use_dora=method == "dora"))
        assert lora_size.trained(plan) == trainable
        assert lora_size.share(plan) == trainable / every


def test_vera_counts_as_peft_does_and_its_random_pair_is_on_disk() -> None:
    plan = Plan(SMALL, "vera", 256, ("q_proj", "v_proj"))
    model = get_peft_model(AutoModelForCausalLM.from_config(llama(SMALL)), VeraConfig(r=256, target_modules=["q_proj", "v_proj"]))
    assert lora_size.trained(plan) == model.get_nb_trainable_parameters()[0]
    buffers = {name.split(".")[-2]: tensor for name, tensor in model.named_buffers() if ".vera_" in name}
    assert lora_size.frozen(plan) == sum(tensor.numel() for tensor in buffers.values()) > 0


def test_the_figures_that_everybody_knows() -> None:
    tiny = Plan(SHAPES["TinyLlama-1.1B"])
    assert lora_size.trained(tiny) == 2_252_800 and f"{100 * lora_size.share(tiny):.2f}" == "0.20"
    assert lora_size.trained(Plan(SHAPES["Llama-2-7B"], r=16, targets=("q_proj", "v_proj"))) == 8_388_608
    assert lora_size.trained(replace(tiny, method="full")) == 1_100_048_384


@pytest.mark.bundled
def test_the_first_shape_is_the_bundled_model() -> None:
    import json

    config = json.loads((resolve("bundled") / "config.json").read_text())
    first = next(iter(SHAPES.values()))
    assert model_shapes.of_config(config) == replace(first, source="") and first.source == bundled.HUB_NAME


def test_every_method_counts_what_the_real_code_trains() -> None:
    assert set(lora_size.TRAINED) <= set(METHODS)
    for method in lora_size.TRAINED:
        config = TrainConfig(data="none", method=method, r=4, target_modules=ATTENTION)
        assert lora_size.trained(Plan(SMALL, method, 4)) == footprint.trainable_parameters(config, llama(SMALL)), method


@pytest.mark.parametrize(
    ("method", "base", "recompute", "targets"),
    [
        ("lora", "fp32", False, ATTENTION),
        ("lora", "bf16", False, ATTENTION + MLP),
        ("lora", "bf16", True, ATTENTION),
        ("qlora", "bf16", False, ATTENTION),
        ("lora_fa", "fp32", False, ATTENTION),
        ("dora", "bf16", False, ATTENTION),
        ("full", "fp32", False, ATTENTION),
    ],
)
def test_memory_is_near_what_the_real_code_holds(method: str, base: str, recompute: bool, targets: tuple[str, ...]) -> None:
    plan = Plan(SMALL, method, 16, targets, base, 512, recompute)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[base]
    config = TrainConfig(data="none", method=method, r=16, target_modules=targets, micro_batch_tokens=512, gradient_checkpointing=recompute)
    row = Encoded(list(range(256)), list(range(256)), True)
    real = footprint._trace(footprint.Setting(llama(SMALL), torch.device("cpu"), dtype), config, [(0, row)], [])
    parts = lora_size.memory(plan)
    assert parts["weights"] == pytest.approx(real.weights, rel=0.02)
    assert parts["optimiser"] == pytest.approx(real.moments, rel=0.01)
    assert parts["adapters"] == pytest.approx(real.common + real.adapter, rel=0.06)
    within = real.activations + recompute * real.workspace
    assert parts["activations"] == pytest.approx(within, rel=0.4 if recompute else 0.05)


def test_a_larger_rank_costs_more_and_full_does_not_change() -> None:
    over = lora_size.over_ranks(Plan(SMALL))
    assert [count / over[0][1] for _, count, _ in over] == list(lora_size.RANKS)
    assert all(one[2] < other[2] for one, other in zip(over, over[1:], strict=False))
    assert len({(count, size) for _, count, size in lora_size.over_ranks(Plan(SMALL, "full"))}) == 1


@pytest.mark.parametrize("method", ["lora", "lora_fa", "vera", "delta_lora", "dora"])
def test_the_file_is_as_large_as_said(method: str) -> None:
    plan = Plan(SMALL, method, 4)
    lora = lora_size.trained(replace(plan, method="lora"))
    vectors = {"lora": lora, "lora_fa": lora, "delta_lora": 2 * lora}
    vectors |= {"dora": lora + 2 * (256 + 128 + 128 + 256), "vera": lora_size.trained(plan) + 4 * 2 * 256}
    assert lora_size.on_disk(plan) == 4 * vectors[method] and lora_size.on_disk(plan, "bf16") == 2 * vectors[method]
