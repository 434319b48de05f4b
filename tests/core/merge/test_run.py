"""The merge verb: from PEFT folders to a PEFT folder, against float64 sums of the files and against plain peft."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from core import adapter, paths, runs
from core.adapter import Adapter, Factor
from core.config import MergeConfig
from core.errors import UserError
from core.merge import recipe
from core.merge import run as merge_run
from core.workspace import Workspace


def workspace(config: MergeConfig) -> Workspace:
    return Workspace(runs.create("merge", config.model_dump(mode="json")))


def merge(**fields) -> tuple[dict, Path]:
    config = MergeConfig(**fields)
    outputs = merge_run.run(config, workspace(config))
    return outputs, paths.home() / outputs["adapter"]


def peft_deltas(base: Path, folder: Path) -> dict[str, torch.Tensor]:
    """peft's own delta of each layer, in float64 from its factors and its scaling."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).base_model.model
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "get_delta_weight")}
    return {
        name: module.scaling["default"] * module.lora_B["default"].weight.double() @ module.lora_A["default"].weight.double()
        for name, module in layers.items()
    }


def exact_sum(base: Path, folders: list[Path], weights: list[float]) -> dict[str, torch.Tensor]:
    total: dict[str, torch.Tensor] = {}
    for folder, weight in zip(folders, weights, strict=True):
        for layer, delta in peft_deltas(base, folder).items():
            total[layer] = total.get(layer, 0) + weight * delta.detach()
    return total


def largest_error(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert set(found) == set(expected)
    return max(float((found[layer] - expected[layer]).abs().max()) for layer in expected)


@pytest.fixture
def foreign(unequal) -> list[Path]:
    return unequal


@pytest.fixture
def own(home) -> list[str]:
    """Two adapters as Lyceum writes them."""
    for n, category in enumerate(("cynic", "lexicon")):
        draw = torch.Generator().manual_seed(n)
        factors = {
            f"model.layers.{k}.self_attn.q_proj": Factor(torch.randn(2, 8, generator=draw), torch.randn(8, 2, generator=draw), 2.0)
            for k in (0, 1)
        }
        info = {"role": "own", "categories": [category], "base_model": "bundled", "base_hash": "abc", "quantization": "none"}
        adapter.write(Adapter(category, factors, "hub/base", info), paths.adapters() / f"{category}-lora")
    return ["cynic-lora", "lexicon-lora"]


def change_info(name: str, **fields) -> None:
    file = paths.adapters() / name / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def test_linear_equals_the_float64_sum(tiny_base, foreign):
    weights = [0.7, -0.4, 1.5]
    outputs, folder = merge(adapters=tuple(map(str, foreign)), weights=tuple(weights))
    assert largest_error(peft_deltas(tiny_base, folder), exact_sum(tiny_base, foreign, weights)) < 1e-6
    assert outputs["adapter"] == "merged_adapters/linear_merged_adapter"
    assert outputs["rank"] == 13 and outputs["relative_error"] < 1e-6


def test_svd_equals_the_dense_truncated_svd(tiny_base, foreign):
    weights = [0.5, 0.5, -0.5]
    outputs, folder = merge(adapters=tuple(map(str, foreign)), weights=tuple(weights), strategy="svd", rank=5, name="short")
    expected, lost, energy = {}, 0.0, 0.0
    for layer, delta in exact_sum(tiny_base, foreign, weights).items():
        U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
        expected[layer] = U[:, :5] * S[:5] @ Vh[:5]
        lost, energy = lost + float(S[5:].square().sum()), energy + float(S.square().sum())
    assert largest_error(peft_deltas(tiny_base, folder), expected) < 1e-6
    assert outputs["energy_kept"] == pytest.approx(1 - lost / energy, abs=1e-6) and lost > 0
    assert max(tensor.shape[0] for key, tensor in load_file(folder / adapter.WEIGHTS).items() if "lora_A" in key) == 5


def test_rank_is_the_largest_of_the_adapters_by_default(foreign):
    outputs, _ = merge(adapters=tuple(map(str, foreign)), strategy="svd")
    assert outputs["rank"] == 6 and outputs["weights"] == [1 / 3] * 3


def test_logits_are_those_of_peft_with_all_adapters_at_once(tiny_base, foreign):
    """peft adds the deltas of several active adapters itself: the same sum by another road."""
    ids = torch.randint(4, 600, (2, 12), generator=torch.Generator().manual_seed(0))
    together = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), foreign[0], adapter_name="0")
    for n in (1, 2):
        together.load_adapter(foreign[n], adapter_name=str(n))
    together.base_model.set_adapter(["0", "1", "2"])
    _, folder = merge(adapters=tuple(map(str, foreign)), weights=(1, 1, 1))
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folder)
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, together(ids).logits, rtol=1e-4, atol=1e-4)


def test_weight_zero_is_off(foreign):
    _, folder = merge(adapters=tuple(map(str, foreign)), weights=(0.5, 0, 1))
    _, without = merge(adapters=(str(foreign[0]), str(foreign[2])), weights=(0.5, 1), name="without")
    assert adapter.content_hash(folder) == adapter.content_hash(without)
    assert "model.layers.0.mlp.down_proj" not in adapter.read(folder).factors


def test_an_adapter_that_is_off_is_not_even_read(tiny_base, foreign, peft_adapter):
    dora = peft_adapter("dora", use_dora=True)
    assert merge(adapters=(str(foreign[0]), str(dora)), weights=(1, 0))[0]["rank"] == 4
    with pytest.raises(UserError, match="DoRA"):
        merge(adapters=(str(foreign[0]), str(dora)), weights=(1, 1), name="two")


def test_one_adapter_of_weight_one_is_itself(tiny_base, foreign):
    _, folder = merge(adapters=(str(foreign[2]),), weights=(1,))
    assert largest_error(peft_deltas(tiny_base, folder), peft_deltas(tiny_base, foreign[2])) < 1e-7


def test_run_json_is_the_recipe(own):
    _, folder = merge(adapters=tuple(own), weights=(0.25, 0.5))
    info = json.loads((folder / "run.json").read_text())
    assert (info["role"], info["categories"], info["base_hash"]) == ("merged", ["cynic", "lexicon"], "abc")
    recipe = info["recipe"]
    assert recipe["strategy"] == "linear" and recipe["space"] == "delta" and recipe["seed"] == 0 and recipe["rank"] is None
    assert (recipe["weights"], recipe["adapters"], recipe["made_rank"]) == ([0.25, 0.5], own, 4)
    assert recipe["hashes"] == [adapter.content_hash(paths.adapters() / name) for name in own]
    assert recipe["fidelity"]["relative_error"] < 1e-6 and recipe["versions"]["torch"] == torch.__version__ and recipe["threads"] >= 1
    assert runs.read(info["run_id"]).verb == "merge"
    assert adapter.read(folder).base_model == "hub/base"


def test_bf16_halves_the_file_and_says_what_it_costs(own):
    full, whole = merge(adapters=tuple(own))
    half, folder = merge(adapters=tuple(own), dtype="bf16", name="half")
    assert all(tensor.dtype == torch.bfloat16 for tensor in load_file(folder / adapter.WEIGHTS).values())
    assert full["relative_error"] < 1e-6 < 1e-4 < half["relative_error"] < 1e-2


def test_a_merge_can_be_merged_again(own):
    merge(adapters=tuple(own), weights=(1, 1), name="both")
    _, folder = merge(adapters=("both", "cynic-lora"), weights=(1, -1), name="rest")
    expected = adapter.read(paths.adapters() / "lexicon-lora").factors
    for layer, factor in adapter.read(folder).factors.items():
        torch.testing.assert_close(factor.B @ factor.A, 2.0 * expected[layer].B @ expected[layer].A, rtol=1e-5, atol=1e-5)


def test_a_recipe_without_weights_is_merged_again(own):
    _, folder = merge(adapters=tuple(own), weights=(0.3, 0.6), name="recipe")
    whole = adapter.read(folder)
    (folder / adapter.WEIGHTS).unlink()
    again = recipe.make(folder)
    for layer, factor in whole.factors.items():
        torch.testing.assert_close(again.factors[layer].B.float(), factor.B, rtol=1e-6, atol=1e-7)
    outputs, _ = merge(adapters=("recipe",), weights=(1,), name="baked")
    assert outputs["rank"] == 4 and outputs["hashes"] == [adapter.content_hash(folder)]
    adapter.write(
        Adapter("cynic-lora", adapter.read(paths.adapters() / "lexicon-lora").factors, "hub/base"), paths.adapters() / "cynic-lora"
    )
    with pytest.raises(UserError, match="was merged from 'cynic-lora', which has changed or is gone"):
        recipe.make(folder)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"weights": (0, 0)}, "All weights are 0"),
        ({"name": "base"}, "means something else"),
        ({"adapters": ("cynic-lora", "adapters/cynic-lora")}, "same adapter"),
        ({"adapters": ("cynic-lora", "nobody")}, "no adapter 'nobody'"),
        ({"name": "../out"}, "can't be used"),
        ({"name": "cynic-lora"}, "name of an adapter"),
    ],
)
def test_what_cannot_be_merged_gets_a_sentence(own, fields, sentence):
    with pytest.raises(UserError, match=sentence):
        merge(**{"adapters": tuple(own), **fields})
    assert not list(paths.home().glob("merged_adapters/*"))


def test_a_taken_name_is_refused_unless_replace(own):
    _, folder = merge(adapters=tuple(own), weights=(1, 0))
    before = adapter.content_hash(folder)
    with pytest.raises(UserError, match="exists already"):
        merge(adapters=tuple(own), weights=(0, 1))
    assert adapter.content_hash(folder) == before
    merge(adapters=tuple(own), weights=(0, 1), replace=True)
    assert adapter.content_hash(folder) != before


def test_a_merge_that_was_killed_after_publishing_can_be_resumed(own):
    config = MergeConfig(adapters=tuple(own))
    killed = workspace(config)
    first = merge_run.run(config, killed)
    assert merge_run.run(config, killed) == first


def test_different_shapes_name_layer_and_shapes(own):
    wide = {"model.layers.0.self_attn.q_proj": Factor(torch.randn(2, 16), torch.randn(8, 2), 1.0)}
    adapter.write(Adapter("wide", wide, "hub/base"), paths.adapters() / "wide")
    with pytest.raises(UserError, match=r"layer model.layers.0.self_attn.q_proj .*cynic-lora: 8 x 8, wide: 8 x 16"):
        merge(adapters=("cynic-lora", "wide"))


def said(run_id_of: Path) -> list[str]:
    run_id = json.loads((run_id_of / "run.json").read_text())["run_id"]
    return [event["message"] for event in runs.read_events(run_id, "say")]


def test_another_base_model_is_refused_and_doubt_is_said(own, foreign):
    folder = paths.adapters() / "lexicon-lora"
    stranger = adapter.read(folder)
    adapter.write(Adapter("x", stranger.factors, "hub/other", {**stranger.info, "base_hash": "def"}), folder)
    with pytest.raises(UserError, match="'hub/base'.*'hub/other', which have different weights"):
        merge(adapters=tuple(own))
    adapter.write(Adapter("x", stranger.factors, "hub/other", {**stranger.info, "base_hash": None}), folder)
    assert "If these are not the same model" in said(merge(adapters=tuple(own), name="doubt")[1])[0]
    adapter.write(Adapter("x", stranger.factors, "/a/copy", stranger.info), folder)
    assert len(said(merge(adapters=tuple(own), name="same-hash")[1])) == 1


def test_quantization_version_and_twins_are_said(own):
    change_info("lexicon-lora", quantization="nf4", base_hash="def")
    warnings = said(merge(adapters=tuple(own))[1])[:-1]
    assert len(warnings) == 2 and "another version or precision" in warnings[0] and "quantization=none" in warnings[1]
    twin = adapter.read(paths.adapters() / "cynic-lora")
    adapter.write(twin, paths.adapters() / "twin")
    assert "counts twice" in said(merge(adapters=("cynic-lora", "twin"), name="twins")[1])[0]


def test_deltas_that_cancel_are_said(own):
    adapter.write(adapter.read(paths.adapters() / "cynic-lora"), paths.adapters() / "twin")
    outputs, folder = merge(adapters=("cynic-lora", "twin"), weights=(1, -1))
    assert outputs["energy_kept"] is None and "is the base model" in said(folder)[-1]
