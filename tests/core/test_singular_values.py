"""Singular values of adapters from their files, against numpy's dense SVD of the delta that core/adapter.py reads."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core import adapter, paths, singular_values
from core.errors import UserError
from core.singular_values import Spectrum

Peft = Callable[..., Path]


def assert_dense(folder: Path, least: int, within: float = 1e-9) -> None:
    """Every layer's values are those of the dense delta, in float64."""
    factors, seen = adapter.read(folder).factors, 0
    for layers in singular_values.modules(folder).values():
        for found in singular_values.spectra(folder, layers):
            factor = factors[found.layer]
            delta = factor.scale * factor.B.double().numpy() @ factor.A.double().numpy()
            dense = np.linalg.svd(delta, compute_uv=False)
            np.testing.assert_allclose(found.values, dense[: len(found.values)], rtol=within, atol=within * dense[0])
            assert dense[len(found.values) :].max(initial=0) <= within * dense[0]
            seen += 1
    assert seen == len(factors) >= least


def test_of_a_shipped_adapter_in_bf16() -> None:
    folder = paths.PROJECT / "adapters" / "cynic-lora"
    known = singular_values.modules(folder)
    assert {name: len(layers) for name, layers in known.items()} == dict.fromkeys(
        ["self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj", "self_attn.v_proj"], 30
    )
    layers = known["self_attn.q_proj"]
    assert layers[10] == "model.layers.10.self_attn.q_proj", "block 10 comes after block 9"
    factors = adapter.read(folder).factors
    for found in singular_values.spectra(folder, layers[::10]):
        delta = factors[found.layer].scale * factors[found.layer].B.double().numpy() @ factors[found.layer].A.double().numpy()
        np.testing.assert_allclose(found.values, np.linalg.svd(delta, compute_uv=False)[:8], rtol=1e-9)


@pytest.mark.parametrize(
    "fields", [{}, {"use_rslora": True}, {"rank_pattern": {"layers.1.self_attn.q_proj": 2}, "alpha_pattern": {"v_proj": 3}}], ids=len
)
def test_of_a_folder_that_peft_wrote(peft_adapter: Peft, fields: dict[str, object]) -> None:
    assert_dense(peft_adapter("foreign", **fields), least=4)


def vera(base: Path, folder: Path, **fields: object) -> Path:
    import torch
    from peft import VeraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), VeraConfig(r=8, target_modules=["q_proj", "down_proj"], **fields))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "vera_lambda" in name:
                tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)))
    model.save_pretrained(folder)
    return folder


def test_of_a_vera_made_elsewhere(tiny_base: Path, tmp_path: Path) -> None:
    assert_dense(vera(tiny_base, tmp_path / "vera"), least=4, within=1e-6)  # the adapter is read into fp32


def test_what_has_no_such_picture_says_why(tiny_base: Path, peft_adapter: Peft, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^dora has DoRA, so what it adds is not s B A alone"):
        singular_values.modules(peft_adapter("dora", use_dora=True))
    bare = peft_adapter("bare")
    (bare / "adapter_model.safetensors").rename(bare / "moved")
    with pytest.raises(UserError, match=r"^bare has no adapter_model.safetensors"):
        singular_values.modules(bare)
    (bare / "adapter_model.safetensors").write_bytes((bare / "moved").read_bytes()[:-40])
    with pytest.raises(UserError, match="damaged or half-copied"):
        singular_values.modules(bare)
    drawn = vera(tiny_base, tmp_path / "drawn", save_projection=False)
    with pytest.raises(UserError, match="VeRA without its projections"):
        singular_values.spectra(drawn, singular_values.modules(drawn)["self_attn.q_proj"])
    config = json.loads((bare / "adapter_config.json").read_text())
    (tmp_path / "vera" / "x").parent.mkdir()
    (tmp_path / "vera" / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "LOHA"}))
    with pytest.raises(UserError, match="PEFT type LOHA"):
        singular_values.modules(tmp_path / "vera")


def test_factors_that_do_not_belong_together_are_refused(peft_adapter: Peft, tiny_base: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = peft_adapter("apart")
    file, layer = folder / "adapter_model.safetensors", "model.layers.0.self_attn.q_proj"
    tensors = load_file(file)
    tensors[f"base_model.model.{layer}.lora_B.weight"] = np.ones((64, 3), np.float32)
    save_file(tensors, file)
    with pytest.raises(UserError, match=f"^apart: what it holds for layer {layer} doesn't belong together"):
        singular_values.spectra(folder, [layer])
    strange = vera(tiny_base, tmp_path / "strange")
    config = json.loads((strange / "adapter_config.json").read_text()) | {"base_model_name_or_path": "some/where"}
    (strange / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="the shape of its base model 'some/where' is not known here"):
        singular_values.spectra(strange, [layer])


def test_effective_rank_is_the_number_of_equal_directions() -> None:
    assert Spectrum("even", np.array([3.0, 3.0, 3.0, 0.0])).effective_rank == pytest.approx(3)
    one = Spectrum("one", np.array([5.0, 0.0]))
    assert one.effective_rank == pytest.approx(1) and one.first_share == 1
    assert Spectrum("none", np.zeros(4)).effective_rank == 0 == Spectrum("none", np.zeros(4)).first_share
    two = Spectrum("two", np.array([3.0, 1.0]))
    assert two.effective_rank == pytest.approx(4 / 3**0.75) and two.first_share == pytest.approx(0.9)


def test_it_is_read_without_torch() -> None:
    code = (
        "import sys; from core import guide_charts, guide_findings, singular_values as s, paths\n"
        "folder = paths.PROJECT / 'adapters' / 'cynic-lora'\n"
        "s.spectra(folder, s.modules(folder)['self_attn.q_proj'][:2]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
