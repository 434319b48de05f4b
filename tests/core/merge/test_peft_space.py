"""space=factor against PEFT's own add_weighted_adapter, from the same folders."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, OPTConfig, OPTForCausalLM

from core import adapter, paths, runs
from core.config import MergeConfig
from core.errors import UserError
from core.merge import APART
from core.merge import run as merge_run
from core.merge.layer import Layer
from core.merge.parents import by_layer
from core.merge.peft_space import in_model_order
from core.merge.recipe import parent
from core.workspace import Workspace

ALL_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
DENSITY = {"ties": 0.4, "dare_linear": 0.7, "dare_ties": 0.5, "magnitude_prune": 0.3}


def merge(folders: list[Path], **fields) -> tuple[Path, str]:
    config = MergeConfig(adapters=tuple(map(str, folders)), space="factor", **fields)
    run = runs.create("merge", config.model_dump(mode="json"))
    outputs = merge_run.run(config, Workspace(run))
    return paths.home() / outputs["adapter"], run.run_id


def ours(folders: list[Path], **fields) -> dict[str, torch.Tensor]:
    factors = adapter.read(merge(folders, **fields)[0]).factors
    return {layer: factor.scale * factor.B.double() @ factor.A.double() for layer, factor in factors.items()}


def pefts(base: Path, folders: list[Path], weights, strategy: str, density: float | None = None, seed: int = 0) -> dict[str, torch.Tensor]:
    """The delta of each layer as PEFT merges it, seeded just before."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folders[0], adapter_name="0")
    names = [str(n) for n in range(len(folders))]
    for name, folder in list(zip(names, folders, strict=True))[1:]:
        model.load_adapter(folder, adapter_name=name)
    torch.manual_seed(seed)
    model.base_model.add_weighted_adapter(names, list(weights), "merged", combination_type=strategy, density=density)
    layers = {name: module for name, module in model.base_model.model.named_modules() if hasattr(module, "get_delta_weight")}
    return {
        name: module.scaling["merged"] * (module.lora_B["merged"].weight.double() @ module.lora_A["merged"].weight.double()).detach()
        for name, module in layers.items()
        if "merged" in module.lora_A
    }


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float = 1e-6) -> None:
    assert set(found) == set(expected)
    for layer in expected:
        torch.testing.assert_close(found[layer], expected[layer], rtol=tolerance, atol=tolerance * float(expected[layer].abs().max()))


@pytest.fixture
def three(peft_adapter) -> list[Path]:
    """One rank; alphas, patterns and layers differ."""
    return [
        peft_adapter("one", seed=1, target_modules=ALL_LAYERS),
        peft_adapter("two", seed=2, lora_alpha=3, target_modules=["q_proj", "o_proj", "down_proj"]),
        peft_adapter("three", seed=3, target_modules=["v_proj", "q_proj"], alpha_pattern={"layers.1.self_attn.q_proj": 16}),
    ]


@pytest.mark.parametrize("weights", [(0.7, -0.4, 1.5), (0.6, 0.0, 1.0)])
@pytest.mark.parametrize("strategy", APART)
def test_equals_peft(tiny_base, three, strategy, weights):
    density = DENSITY.get(strategy)
    found = ours(three, weights=weights, strategy=strategy, density=density, seed=7)
    assert_equal(found, pefts(tiny_base, three, weights, strategy, density, seed=7))


@pytest.mark.parametrize("strategy", ["dare_linear", "dare_ties"])
def test_random_entries_follow_the_seed_and_the_order_of_another_architecture(tmp_path, peft_adapter, strategy):
    """OPT has k before v before q, and 'out_proj'; the draws of PEFT follow the model's modules."""
    base = tmp_path / "opt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 32}
        OPTForCausalLM(OPTConfig(vocab_size=100, max_position_embeddings=32, **shape)).save_pretrained(base)
    fields = {"base": base, "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]}
    folders = [peft_adapter(f"opt-{n}", seed=n, **fields, init_lora_weights=init) for n, init in enumerate(("gaussian", True))]
    found = [ours(folders, strategy=strategy, density=0.5, seed=seed, name=f"seed-{seed}") for seed in (3, 4)]
    assert_equal(found[0], pefts(base, folders, (0.5, 0.5), strategy, 0.5, seed=3))
    assert max(float((found[0][layer] - found[1][layer]).abs().max()) for layer in found[0]) > 1e-3


def test_without_the_base_model_the_order_is_that_of_a_llama(three, tmp_path):
    layers = by_layer([parent(three[0].name, three[0], 1.0)])
    by_config = in_model_order(layers, parent(three[0].name, three[0], 1.0))
    config = three[0] / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": str(tmp_path / "nowhere")}))
    assert in_model_order(layers[::-1], parent(three[0].name, three[0], 1.0)) == by_config
    eleven = [Layer(f"model.layers.{n}.self_attn.q_proj", [], [], []) for n in range(11)]
    assert in_model_order(sorted(eleven, key=lambda layer: layer.name), parent(three[0].name, three[0], 1.0)) == eleven


def test_weight_zero_votes_as_in_peft_and_is_off_in_delta_space(tiny_base, three):
    """The same weights, with and without the adapter of weight 0: another merge in factor space, the same one in delta space."""
    with_zero = ours(three, weights=(0.5, 0, 0.5), strategy="ties", density=0.5)
    without = ours([three[0], three[2]], weights=(0.5, 0.5), strategy="ties", density=0.5, name="without")
    layer = "model.layers.0.self_attn.q_proj"
    assert float((with_zero[layer] - without[layer]).abs().max()) > 1e-3


def test_one_adapter_is_merged_as_linear_whatever_the_strategy(tiny_base, three):
    found = ours([three[0]], weights=(0.5,), strategy="ties", density=0.1)
    assert_equal(found, pefts(tiny_base, [three[0]], (0.5,), "ties", 0.1))


def test_density_one_drops_nothing_and_says_nothing(tiny_base, three, recwarn):
    found = ours(three, strategy="dare_ties", density=1)
    assert not [warning for warning in recwarn if "density" in str(warning.message)]
    assert_equal(found, pefts(tiny_base, three, (1 / 3,) * 3, "dare_ties", 1.0))


def test_rslora_of_the_first_adapter_is_followed_and_warned_of(tiny_base, peft_adapter):
    folders = [peft_adapter("rs", seed=1, r=9, use_rslora=True), peft_adapter("plain", seed=2, r=9)]
    folder, run_id = merge(folders, strategy="linear")
    warnings = [event["message"] for event in runs.read_events(run_id, "say") if "rsLoRA" in event["message"]]
    assert len(warnings) == 1 and "3.0 times too strong" in warnings[0] and "space=delta" in warnings[0]
    found = {layer: factor.scale * factor.B.double() @ factor.A.double() for layer, factor in adapter.read(folder).factors.items()}
    assert_equal(found, pefts(tiny_base, folders, (0.5, 0.5), "linear"))
    assert not [e for e in runs.read_events(merge(folders[::-1], name="b")[1], "say") if "rsLoRA" in e["message"]]


def test_others_random_numbers_stay_as_they_were(three):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ours(three, strategy="dare_linear", density=0.5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("strategy", ["svd", "cat"])
def test_svd_and_cat_are_the_same_in_both_spaces(tiny_base, three, strategy):
    weights = (0.5, 0.0, -1.0)
    rounding = 1e-5 if strategy == "svd" else 1e-6  # PEFT decomposes in fp32, and its last digits are the processor's
    made = ours([three[0], three[2]], weights=(0.5, -1.0), strategy=strategy)
    assert_equal(made, pefts(tiny_base, three, weights, strategy), rounding)


def test_unequal_ranks_are_refused(peft_adapter):
    folders = [peft_adapter("small", r=2), peft_adapter("large", r=4)]
    with pytest.raises(UserError, match=r"ranks of the adapters differ .*q_proj: 2, 4.*space=delta"):
        merge(folders, strategy="ties", density=0.5)


@pytest.mark.parametrize("strategy", ["della", "breadcrumbs", "sce", "knots", "tsv"])
def test_strategies_that_peft_lacks_are_refused(strategy):
    with pytest.raises(UserError, match=f"Strategy {strategy} needs whole deltas.*space=delta"):
        MergeConfig(adapters=("a", "b"), strategy=strategy, density=None if strategy == "tsv" else 0.5, space="factor")


def test_a_lambda_is_refused():
    with pytest.raises(UserError, match="ties_lambda=2 is unknown to PEFT"):
        MergeConfig(adapters=("a", "b"), strategy="ties", density=0.5, space="factor", ties_lambda=2)
