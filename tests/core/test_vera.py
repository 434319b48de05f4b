"""VeRA folders that peft wrote, read as plain LoRA; and its random projections."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import VeraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from core import adapter, vera
from core.adapter import Adapter
from core.errors import UserError
from core.vera import VeraWeights

Foreign = Callable[..., tuple[Path, dict[str, Tensor]]]


@pytest.fixture
def foreign(tiny_base: Path, tmp_path: Path) -> Foreign:
    """`foreign(name, **VeraConfig fields)`: a folder that peft wrote, and peft's own delta of each layer."""

    def make(name: str = "foreign", **fields: object) -> tuple[Path, dict[str, Tensor]]:
        given = {"r": 12, "target_modules": ["q_proj", "k_proj", "down_proj"], "projection_prng_key": 3, "task_type": "CAUSAL_LM"}
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), VeraConfig(**{**given, **fields}))
        draw = torch.Generator().manual_seed(1)
        for key, tensor in model.named_parameters():
            if "vera_lambda" in key:
                torch.nn.init.normal_(tensor, generator=draw)
        model.save_pretrained(tmp_path / name)
        layers = {key: module for key, module in model.base_model.model.named_modules() if hasattr(module, "get_delta_weight")}
        return tmp_path / name, {key: module.get_delta_weight("default").detach() for key, module in layers.items()}

    return make


def change(folder: Path, tensors: Callable[[dict[str, Tensor]], object] = lambda _: None, **fields: object) -> Path:
    """Change the tensors and the config of a folder."""
    held = load_file(folder / adapter.WEIGHTS)
    tensors(held)
    save_file(held, folder / adapter.WEIGHTS)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **fields}))
    return folder


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"save_projection": False},
        {"save_projection": False, "projection_prng_key": 11, "target_modules": "all-linear"},
        {"target_modules": ["o_proj", "v_proj"], "r": 80},
        {"layers_to_transform": [1]},
    ],
)
def test_read_equals_peft(fields: dict, foreign: Foreign) -> None:
    folder, expected = foreign(**fields)
    found = adapter.read(folder)
    assert found.factors.keys() == expected.keys()
    for layer, factor in found.factors.items():
        assert factor.scale == 1 and factor.rank == fields.get("r", 12)
        torch.testing.assert_close(factor.B @ factor.A, expected[layer], rtol=1e-5, atol=1e-6)


def test_projections_are_pefts_to_the_last_bit(foreign: Foreign) -> None:
    held = load_file(foreign()[0] / adapter.WEIGHTS)
    A, B = vera.projections(3, 12, 128, 64)
    assert torch.equal(A, held["base_model.vera_A"]) and torch.equal(B, held["base_model.vera_B"])


def test_a_folder_of_ours_needs_no_base_model(tmp_path: Path) -> None:
    """PEFT's folders don't say how many inputs a layer has; ours note it."""
    A, B = vera.projections(0, 4, 10, 8)
    layers = {"model.layers.0.q_proj": (8, 6), "model.layers.0.down_proj": (5, 10)}
    d, b = {layer: torch.randn(4) for layer in layers}, {layer: torch.randn(out) for layer, (out, _) in layers.items()}
    weights = VeraWeights(0, A, B, d, b, {layer: into for layer, (_, into) in layers.items()})
    folder = vera.write(weights, tmp_path / "made", "nowhere/gone", {"role": "own"}, torch.float32)
    read = adapter.read(folder)
    assert read.info == {"role": "own"} and read.base_model == "nowhere/gone"
    for layer, (out, into) in layers.items():
        expected = b[layer][:, None] * (B[:out] @ (d[layer][:, None] * A[:, :into]))
        assert torch.allclose(read.factors[layer].B @ read.factors[layer].A, expected, atol=1e-6)


def test_a_plain_lora_of_it_is_the_same_in_peft(foreign: Foreign, tmp_path: Path) -> None:
    folder, expected = foreign()
    read = adapter.read(folder)
    plain = adapter.read(adapter.write(Adapter("plain", read.factors, read.base_model), tmp_path / "plain"))
    for layer, factor in plain.factors.items():
        assert torch.allclose(factor.scale * factor.B @ factor.A, expected[layer], atol=1e-6)


def test_content_hash_knows_the_projections(foreign: Foreign) -> None:
    """Of a folder without projections the key alone tells them."""
    folders = [foreign(f"key-{key}", save_projection=False, projection_prng_key=key)[0] for key in (1, 2)]
    one, other = ((folder / adapter.WEIGHTS).read_bytes() for folder in folders)
    assert one == other and adapter.content_hash(folders[0]) != adapter.content_hash(folders[1])
    same = foreign("again", save_projection=False, projection_prng_key=1)[0]
    assert adapter.content_hash(same) == adapter.content_hash(folders[0])


@pytest.mark.parametrize(
    ("tensors", "fields", "sentence"),
    [
        (lambda held: held.pop("base_model.vera_A"), {}, "vera_A and vera_B are missing or too small"),
        (lambda held: held.update({"base_model.vera_B": torch.zeros(12, 12)}), {}, "missing or too small"),
        (lambda held: held.pop(min(held)), {}, "lacks one of its vectors d and b"),
        (lambda held: [held.pop(key) for key in list(held) if "lambda" in key], {}, "holds no vectors"),
        (lambda held: held.update({"base_model.model.lm_head.weight": torch.zeros(2, 2)}), {}, "lm_head.weight"),
        (lambda held: held[min(held)].fill_(float("nan")), {}, "NaN or infinity"),
        (
            lambda held: None,
            {"base_model_name_or_path": "nowhere/gone"},
            "shapes of its base model 'nowhere/gone'.*base_model_name_or_path",
        ),
        (lambda held: None, {"fan_in_fan_out": True}, "Conv1D"),
        (lambda held: held.update({f"base_model.model.x.vera_lambda_{n}": torch.zeros(12) for n in "db"}), {}, "layer x, which its base"),
    ],
)
def test_what_is_damaged_is_refused(tensors: Callable, fields: dict, sentence: str, foreign: Foreign) -> None:
    with pytest.raises(UserError, match=sentence):
        adapter.read(change(foreign()[0], tensors, **fields))
