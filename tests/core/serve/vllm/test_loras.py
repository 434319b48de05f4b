"""Adapters in vLLM: written as plain LoRA, loaded once, under their content; loaded anew when they change. A stand-in plays vLLM's part."""

import json
import os
import shutil

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from core import adapter, paths
from core.adapter import Adapter, Factor
from core.config import MergeConfig
from core.merge import recipe
from core.serve.vllm import loras
from core.serve.vllm.engine import Engine
from tests.core.serve.conftest import until

ASKED = {"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 1, "temperature": 0}


def deltas(folder):
    """scale x B A by layer, of what vLLM reads: one rank, one scale."""
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["rank_pattern"] == config["alpha_pattern"] == {} and not config["use_rslora"] and config["lora_alpha"] == config["r"]
    found = adapter.read(folder)
    assert {factor.rank for factor in found.factors.values()} == {config["r"]}
    return {layer: factor.B @ factor.A for layer, factor in found.factors.items()}


def by_peft(base, folder):
    """What PEFT adds to each weight."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    layers = {name.removeprefix("base_model.model."): layer for name, layer in model.named_modules() if hasattr(layer, "get_delta_weight")}
    return {name: layer.get_delta_weight("default").detach() for name, layer in layers.items()}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"use_rslora": True, "lora_alpha": 3},
        {"rank_pattern": {"layers.0.self_attn.q_proj": 7}, "alpha_pattern": {"v_proj": 5}},
        {"target_modules": ["layers.1.mlp.up_proj"], "lora_alpha": 1},
    ],
)
def test_what_vllm_reads_adds_what_peft_adds(adapters, tiny_base, tmp_path, fields):
    folder = adapters("x", 1, **fields)
    written = deltas(adapter.write(loras.plain(adapter.read(folder)), tmp_path / "written"))
    expected = by_peft(tiny_base, folder)
    assert written.keys() == expected.keys()
    for layer, delta in expected.items():
        torch.testing.assert_close(written[layer], delta, atol=1e-6, rtol=1e-5)


def test_vera_becomes_a_plain_lora(tiny_base, tmp_path):
    from peft import VeraConfig, get_peft_model

    config = VeraConfig(r=6, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config)
    for name, tensor in model.named_parameters():
        if "vera_lambda" in name:
            torch.nn.init.normal_(tensor, std=0.3)
    model.save_pretrained(tmp_path / "vera")
    written = deltas(adapter.write(loras.plain(adapter.read(tmp_path / "vera")), tmp_path / "written"))
    for layer, delta in by_peft(tiny_base, tmp_path / "vera").items():
        torch.testing.assert_close(written[layer], delta, atol=1e-6, rtol=1e-5)


@pytest.fixture
def served(serve, adapters):
    adapters("x", 1)
    return serve()


def loaded(served):
    return [each["lora_name"] for each in served.asked("/v1/load_lora_adapter")]


def unloaded(served):
    return [each["lora_name"] for each in served.asked("/v1/unload_lora_adapter")]


def test_an_adapter_is_loaded_on_first_use_and_once(served):
    assert loaded(served) == [] and served.health()["in_bank"] == []
    for _ in range(3):
        assert served.chat(model="x").status_code == 200
    digest = adapter.content_hash(paths.adapters() / "x")
    assert loaded(served) == [f"x-{digest}"] and served.health()["in_bank"] == [{"name": "x", "rank": 4}]
    written = served.asked("/v1/load_lora_adapter")[0]["lora_path"]
    assert deltas(paths.Path(written)).keys() == adapter.read(paths.adapters() / "x").factors.keys()


def test_a_changed_one_is_another_and_one_that_is_gone_leaves(served, adapters):
    served.chat(model="x")
    adapters("x", 2)
    adapters("y", 3)
    assert served.chat(model="x").status_code == 200
    first, second = loaded(served)
    assert first != second and unloaded(served) == [first]
    assert served.asked("/v1/completions")[-1]["model"] == second
    shutil.rmtree(paths.adapters() / "x")
    assert served.chat(model="x").status_code == 404
    assert served.chat(model="y").status_code == 200
    assert unloaded(served) == [first, second] and [each["name"] for each in served.health()["in_bank"]] == ["y"]


def test_what_dead_processes_have_written_goes_and_ours_at_the_end(served):
    dead, other = paths.results() / ".vllm" / "999999999", paths.results() / ".vllm" / str(os.getppid())
    dead.mkdir(parents=True)
    other.mkdir()
    served.chat(model="x")
    ours = paths.Path(served.asked("/v1/load_lora_adapter")[0]["lora_path"])
    engine = Engine(served.engine.config, say=lambda _: None)
    assert not dead.exists() and other.exists(), "of a living process, everything stays"
    engine.end()
    assert ours.parent == paths.results() / ".vllm" / str(os.getpid()) and not ours.exists()


def test_a_new_process_gets_them_again(served):
    served.chat(model="x")
    served.kill()
    until(lambda: served.health()["restarts"] == 1 and served.health()["state"] == "ready")
    assert served.health()["in_bank"] == []
    assert served.chat(model="x").status_code == 200 and loaded(served)[0] == loaded(served)[1]


def test_a_merge_without_weights_is_made_for_vllm(served, adapters, tiny_base):
    x, y = paths.adapters() / "x", adapters("y", 2)
    made = recipe.record(MergeConfig(adapters=("x", "y")), [("x", x, 0.5), ("y", y, 0.5)])
    info = {"role": "merged", "base_hash": served.engine.mixes.base_hash, "recipe": made}
    parents = [adapter.read(each) for each in (x, y)]
    layers = {}
    for layer in parents[0].factors:
        found = [each.factors[layer] for each in parents]
        A = torch.cat([each.A for each in found])
        layers[layer] = Factor(A, torch.cat([0.5 * each.scale * each.B for each in found], 1), 1.0)
    folder = adapter.write(Adapter("both", layers, str(tiny_base), info), paths.merged_adapters() / "both")
    (folder / adapter.WEIGHTS).unlink()
    assert served.chat(model="both").status_code == 200
    written = deltas(paths.Path(served.asked("/v1/load_lora_adapter")[-1]["lora_path"]))
    for layer, factor in layers.items():
        torch.testing.assert_close(written[layer], factor.B @ factor.A, atol=1e-5, rtol=1e-5)


def test_a_wider_adapter_that_comes_later_is_refused_and_taken_after_a_new_start(served, adapters):
    adapters("wide", 5, r=40)
    refused = served.chat(model="wide")
    assert refused.status_code == 400 and "started for ranks up to 8" in refused.json()["error"]["message"]
    served.kill()
    until(lambda: served.health()["state"] == "ready" and served.health()["max_lora_rank"] == 64)
    assert served.chat(model="wide").status_code == 200
