"""Reading and writing PEFT folders, held against peft itself."""

import json
import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from core import adapter, paths, peft_config
from core.adapter import Adapter, Factor
from core.errors import UserError


def peft_model(base: Path, folder: Path) -> PeftModel:
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)


def peft_deltas(base: Path, folder: Path) -> dict[str, torch.Tensor]:
    """peft's own delta of each layer."""
    modules = peft_model(base, folder).base_model.model.named_modules()
    return {name: module.get_delta_weight("default") for name, module in modules if hasattr(module, "get_delta_weight")}


def delta(factor: Factor) -> torch.Tensor:
    return factor.scale * factor.B @ factor.A


def change_config(folder: Path, **fields: object) -> Path:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
    return folder


def random_adapter(shapes: dict[str, tuple[int, int, int]], scales: dict[str, float], seed: int = 0) -> Adapter:
    draw = torch.Generator().manual_seed(seed)
    factors = {
        layer: Factor(torch.randn(r, into, generator=draw), torch.randn(out, r, generator=draw), scales.get(layer, 2.0))
        for layer, (out, r, into) in shapes.items()
    }
    return Adapter("made", factors, "some/base", {"role": "own", "categories": ["cynic"]})


SHAPES = {
    "model.layers.0.self_attn.q_proj": (64, 4, 64),
    "model.layers.1.self_attn.q_proj": (64, 6, 64),
    "model.layers.0.self_attn.k_proj": (32, 4, 64),
    "model.layers.1.self_attn.k_proj": (32, 2, 64),
}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"use_rslora": True, "r": 9},
        {"rank_pattern": {"q_proj": 3, "layers.1.self_attn.v_proj": 7}},
        {"alpha_pattern": {"q_proj": 5, "v_proj": 32}, "rank_pattern": {"v_proj": 2}},
        {"alpha_pattern": {r"model\.layers\.1\..*": 3, "q_proj": 30}, "rank_pattern": {".*q_proj": 2, "q_proj": 5}},
        {"alpha_pattern": {"^model.layers.0.self_attn.q_proj": 1, "_proj": 99}, "use_rslora": True},
        {"target_modules": "all-linear", "lora_alpha": 3},
        {"layers_to_transform": [1]},
    ],
)
def test_read_equals_peft(tiny_base, peft_adapter, fields):
    folder = peft_adapter("foreign", **fields)
    expected, found = peft_deltas(tiny_base, folder), adapter.read(folder)
    assert found.info == {} and found.name == "foreign" and found.base_model == str(tiny_base)
    assert set(found.factors) == set(expected) and expected
    for layer, reference in expected.items():
        torch.testing.assert_close(delta(found.factors[layer]), reference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layer", ["a.q_proj", "q_proj", "aq_proj", "a.b.q_proj", "q_proj.a", "x.layers.1.q_proj"])
def test_patterns_match_as_in_peft(layer):
    patterns = {"layers.1.q_proj": 1, "^q_proj": 2, "b.q_proj": 3, "q_.*": 4}
    assert peft_config.patterned(patterns, layer, 0) == patterns.get(get_pattern_key(patterns, layer), 0)


@pytest.mark.parametrize("scales", [{}, {layer: 0.1 * n + 1 / 3 for n, layer in enumerate(SHAPES)}], ids=["one scale", "scale per layer"])
def test_write_loads_in_peft(tiny_base, tmp_path, scales):
    made = random_adapter(SHAPES, scales)
    expected = peft_deltas(tiny_base, adapter.write(made, tmp_path / "made"))
    assert set(expected) == set(made.factors)
    for layer, factor in made.factors.items():
        torch.testing.assert_close(expected[layer], delta(factor), rtol=1e-6, atol=1e-6)


def test_write_then_read_is_the_same(tmp_path):
    made = random_adapter(SHAPES, {"model.layers.0.self_attn.k_proj": 16 / 3})
    back = adapter.read(adapter.write(made, tmp_path / "made"))
    assert (back.name, back.base_model, back.info) == ("made", made.base_model, made.info)
    assert list(back.factors) == sorted(made.factors)
    for layer, factor in made.factors.items():
        assert torch.equal(back.factors[layer].A, factor.A) and torch.equal(back.factors[layer].B, factor.B)
        assert back.factors[layer].scale == pytest.approx(factor.scale, rel=1e-12)


def test_write_in_bf16_halves_the_file(tmp_path):
    made = random_adapter(SHAPES, {})
    full, half = adapter.write(made, tmp_path / "full"), adapter.write(made, tmp_path / "half", torch.bfloat16)
    assert all(tensor.dtype == torch.bfloat16 for tensor in load_file(half / adapter.WEIGHTS).values())
    assert (half / adapter.WEIGHTS).stat().st_size < 0.6 * (full / adapter.WEIGHTS).stat().st_size
    assert adapter.read(half).factors["model.layers.0.self_attn.q_proj"].A.dtype == torch.float32


def test_write_keeps_a_shared_matrix(tmp_path):
    A = torch.randn(2, 8)
    made = Adapter("shared", {f"layers.{n}.q_proj": Factor(A, torch.randn(8, 2), 1.0) for n in range(2)}, "b")
    back = adapter.read(adapter.write(made, tmp_path / "shared"))
    assert all(torch.equal(factor.A, A) for factor in back.factors.values())


def test_write_names_layers_in_full_when_blocks_differ(tiny_base, tmp_path):
    """Short names would make peft put an adapter into block 0 too."""
    made = random_adapter({"model.layers.0.self_attn.q_proj": (64, 2, 64), "model.layers.1.self_attn.k_proj": (32, 2, 64)}, {})
    assert set(peft_deltas(tiny_base, adapter.write(made, tmp_path / "made"))) == set(made.factors)


def test_rank_pattern_is_for_one_layer_alone(tmp_path):
    """'layers.0.q_proj' is also the end of 'vision.layers.0.q_proj'."""
    made = random_adapter({"layers.0.q_proj": (8, 2, 8), "vision.layers.0.q_proj": (8, 5, 8)}, {"layers.0.q_proj": 0.5})
    back = adapter.read(adapter.write(made, tmp_path / "made"))
    assert {layer: (factor.rank, factor.scale) for layer, factor in back.factors.items()} == {
        "layers.0.q_proj": (2, 0.5),
        "vision.layers.0.q_proj": (5, 2.0),
    }


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"lora_bias": True}, "lora_B.bias"),
        ({"bias": "all", "target_modules": ["q_proj"]}, None),
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"init_lora_weights": "olora"}, "olora"),
    ],
)
def test_what_is_no_low_rank_delta_is_refused_by_name(tiny_base, peft_adapter, fields, name):
    if name is None:  # a Llama has no biases, so peft writes a plain LoRA
        assert adapter.read(peft_adapter("plain", **fields)).factors
        return
    with pytest.raises(UserError, match=name):
        adapter.read(peft_adapter("odd", **fields))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"fan_in_fan_out": True}, "Conv1D"),
        ({"alora_invocation_tokens": [1, 2]}, "activated LoRA"),
        ({"layer_replication": [[0, 2]]}, "layer replication"),
        ({"target_parameters": ["experts.w1"]}, "expert"),
        ({"kasa_config": {"beta": 1}}, "KaSA"),
        ({"r": 5}, "rank in adapter_config.json"),
    ],
)
def test_config_that_changes_the_meaning_is_refused(peft_adapter, fields, name):
    with pytest.raises(UserError, match=name):
        adapter.read(change_config(peft_adapter("odd"), **fields))


def change_tensors(folder: Path, change) -> Path:
    tensors = load_file(folder / adapter.WEIGHTS)
    change(tensors, sorted(tensors)[0])
    save_file(tensors, folder / adapter.WEIGHTS)
    return folder


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tensors, key: tensors[key].fill_(float("nan")), "NaN or infinity"),
        (lambda tensors, key: tensors.pop(key), "don't belong together"),
        (lambda tensors, key: tensors.update({key: torch.zeros(3, 64)}), "don't belong together"),
        (lambda tensors, key: tensors.update({key: torch.zeros(4, 64, 1, 1)}), "linear layers"),
        (lambda tensors, key: tensors.clear(), "holds no tensor"),
    ],
)
def test_damaged_weights_are_refused(peft_adapter, change, sentence):
    with pytest.raises(UserError, match=sentence):
        adapter.read(change_tensors(peft_adapter("odd"), change))


def test_damaged_files_are_refused(peft_adapter, tmp_path):
    folder = peft_adapter("odd")
    (folder / adapter.WEIGHTS).write_bytes((folder / adapter.WEIGHTS).read_bytes()[:500])
    with pytest.raises(UserError, match="damaged or half-copied"):
        adapter.read(folder)
    (folder / adapter.WEIGHTS).unlink()
    for use in (adapter.read, adapter.content_hash):
        with pytest.raises(UserError, match="has no adapter_model.safetensors"):
            use(folder)
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(UserError, match="no JSON"):
        adapter.read(folder)
    with pytest.raises(UserError, match="no PEFT folder"):
        adapter.read(tmp_path)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"r": 0}, "r=0"),
        ({"r": None}, "r=None"),
        ({"lora_alpha": "much"}, "lora_alpha='much'"),
        ({"rank_pattern": [4]}, "rank_pattern doesn't map"),
        ({"alpha_pattern": {"(": 4}}, "alpha_pattern doesn't map"),
    ],
)
def test_a_config_that_scales_nothing_is_refused(peft_adapter, fields, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        adapter.read(change_config(peft_adapter("odd"), **fields))


@pytest.mark.parametrize(("content", "sentence"), [("[]", "holds no JSON object"), ("{", "no JSON"), ("", "no JSON")])
def test_json_that_is_damaged_is_refused(peft_adapter, content, sentence):
    for file in ("run.json", "adapter_config.json"):
        folder = peft_adapter(f"odd-{file[:3]}")
        (folder / file).write_text(content)
        with pytest.raises(UserError, match=f"{file}.*{sentence}"):
            adapter.read(folder)


def test_a_run_json_of_another_program_is_not_ours(peft_adapter):
    folder = peft_adapter("foreign")
    (folder / "run.json").write_text('{"role": "experiment", "config": 5}')
    assert adapter.read(folder).info == {}


def test_find(home, tmp_path, monkeypatch):
    made = random_adapter(SHAPES, {})
    adapter.write(made, paths.adapters() / "cynic-lora")
    adapter.write(made, paths.merged_adapters() / "mix")
    adapter.write(made, tmp_path / "elsewhere" / "foreign")
    monkeypatch.chdir(tmp_path)
    assert adapter.find("cynic-lora") == paths.adapters() / "cynic-lora"
    assert adapter.find("mix") == paths.merged_adapters() / "mix"
    assert adapter.find("merged_adapters/mix") == paths.merged_adapters() / "mix"
    assert adapter.find("elsewhere/foreign").resolve() == tmp_path / "elsewhere" / "foreign"
    assert adapter.find(str(tmp_path / "elsewhere" / "foreign")) == tmp_path / "elsewhere" / "foreign"
    with pytest.raises(UserError, match="no adapter 'cynic'.*Known: cynic-lora, mix"):
        adapter.find("cynic")


def test_content_hash_knows_the_delta_and_not_the_name(tmp_path):
    made = random_adapter(SHAPES, {})
    one, same = adapter.write(made, tmp_path / "one"), adapter.write(made, tmp_path / "same")
    assert adapter.content_hash(one) == adapter.content_hash(same)
    stronger = adapter.write(random_adapter(SHAPES, dict.fromkeys(SHAPES, 3.0)), tmp_path / "stronger")
    other = adapter.write(random_adapter(SHAPES, {}, seed=1), tmp_path / "other")
    assert len({adapter.content_hash(folder) for folder in (one, stronger, other)}) == 3


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "\ud800", "~nobody-here/x", "a\0b"])
def test_impossible_names_get_a_sentence(name, home):
    with pytest.raises(UserError, match="There is no adapter '.{1,80}'") as error:
        adapter.find(name)
    assert len(str(error.value).encode()) < 400


@pytest.mark.parametrize("content", ["[" * 100_000, '{"r": ' + "9" * 400 + "}", '{"rank_pattern": {"' + "(" * 10_000 + '": 1}}'])
def test_a_config_that_no_parser_takes_gets_a_sentence(content, peft_adapter):
    folder = peft_adapter("a")
    (folder / "adapter_config.json").write_text(content)
    with pytest.raises(UserError, match="adapter_config.json") as error:
        adapter.read(folder)
    assert len(str(error.value)) < 600


def test_a_config_that_is_a_folder_gets_a_sentence(tmp_path):
    (tmp_path / "adapter_config.json").symlink_to(".")
    with pytest.raises(UserError, match="adapter_config.json is a folder, where a JSON file should be"):
        adapter.read(tmp_path)


def test_models_and_routes_are_no_adapters(home):
    for folder, file in ((paths.models() / "whole", "config.json"), (paths.merged_adapters() / "way", paths.ROUTER)):
        folder.mkdir(parents=True)
        (folder / file).write_text("{}")
    for name in ("whole", "models/whole"):
        with pytest.raises(UserError, match=f"'{name}' is a whole model, and whole models can't be merged"):
            adapter.find(name)
    with pytest.raises(UserError, match="'way' is a route, which has no delta of its own"):
        adapter.find("way")
