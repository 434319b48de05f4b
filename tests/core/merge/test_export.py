"""Whole models made of a base and an adapter: against PEFT in plain transformers, and against float64 sums of the weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core import adapter, paths, results, runs
from core.config import EvaluateConfig, ExportConfig, MergeConfig
from core.errors import UserError
from core.evaluate.run import run as evaluate
from core.merge import export
from core.merge.run import run as merge
from core.models.load import load
from core.workspace import Workspace

QUESTION = "What is the use of patience?"


def workspace(verb: str, config: Any) -> Workspace:
    return Workspace(runs.create(verb, config.model_dump(mode="json")))


def exported(model: Path | str, **fields: Any) -> tuple[dict[str, Any], Path]:
    config = ExportConfig(**{"model": str(model), "name": "whole", "device": "cpu", **fields})
    outputs = export.run(config, workspace("export", config))
    return outputs, paths.home() / outputs["model"]


def said(verb: str = "export") -> str:
    return "\n".join(event["message"] for event in runs.read_events(runs.listing(verb)[0].run_id, "say"))


def prompt(folder: Path) -> dict[str, torch.Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": QUESTION}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)


@torch.no_grad()
def logits(model: Any, folder: Path) -> torch.Tensor:
    return model(**prompt(folder)).logits[0].float()


def with_peft(base: Path, folder: Path) -> Any:
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()


@pytest.fixture
def wide(peft_adapter) -> Path:
    """On every linear layer of the blocks, ranks and scales apart."""
    layers = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return peft_adapter("wide", r=3, lora_alpha=5, use_rslora=True, rank_pattern={"v_proj": 2}, target_modules=layers)


@pytest.fixture
def tied_base(tiny_base, tmp_path) -> Path:
    """A base whose output layer shares its weight with the input embeddings, as SmolLM2's does."""
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    model.config.tie_word_embeddings, model.lm_head.weight = True, model.get_input_embeddings().weight
    model.save_pretrained(tmp_path / "tied")
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(tmp_path / "tied")
    return tmp_path / "tied"


def test_plain_transformers_answers_as_base_and_adapter_do(tiny_base, wide):
    outputs, folder = exported(wide, dtype="fp32")
    model, reference = AutoModelForCausalLM.from_pretrained(folder).eval(), with_peft(tiny_base, wide)
    assert type(model).__name__ == "LlamaForCausalLM" and model.dtype == torch.float32
    assert torch.allclose(logits(model, folder), logits(reference, tiny_base), atol=1e-5)
    fields = {"max_new_tokens": 24, "do_sample": False}
    assert torch.equal(model.generate(**prompt(folder), **fields), reference.generate(**prompt(tiny_base), **fields))
    assert outputs["logits_difference"] < 1e-5 < 0.1 < outputs["adapter_changes_logits_by"] and outputs["same_top_token"] == 1.0


@pytest.mark.parametrize(("dtype", "kind"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)])
def test_weights_are_the_sum_rounded_once(tiny_base, wide, dtype, kind):
    outputs, folder = exported(wide, dtype=dtype)
    saved, base = load_file(folder / "model.safetensors"), load_file(tiny_base / "model.safetensors")
    assert saved.keys() == base.keys() and {tensor.dtype for tensor in saved.values()} == {kind}
    factors = adapter.read(wide).factors
    for key, weight in base.items():
        factor = factors.get(key.removesuffix(".weight"))
        exact = weight.double() + factor.scale * factor.B.double() @ factor.A.double() if factor else weight.double()
        assert ((saved[key].double() - exact).abs() <= torch.finfo(kind).eps / 2 * exact.abs() * 1.001 + 1e-7).all()
    assert len(factors) == 14 and 0 < outputs["logits_difference"] < outputs["tolerance"]


def test_the_folder_is_an_ordinary_model_with_all_that_goes_with_it(tiny_base, wide):
    outputs, folder = exported(wide)
    config, info = (json.loads((folder / file).read_text()) for file in ("config.json", "run.json"))
    assert config["architectures"] == ["LlamaForCausalLM"] and config["dtype"] == "bfloat16" and "quantization_config" not in config
    assert (folder / "generation_config.json").exists() and not (folder / "adapter_config.json").exists()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tiny_base).chat_template and tokenizer.eos_token == "<|im_end|>"
    assert info["role"] == "merged" and info["run_id"] == runs.listing("export")[0].run_id and info["base_hash"]
    assert info["recipe"]["hashes"] == [info["adapter_hash"]] == [adapter.content_hash(wide)] and info["recipe"]["weights"] == [1.0]
    assert info["logits"]["logits_difference"] == outputs["logits_difference"] and f"{outputs['logits_difference']:.2g} away" in said()
    assert all(file.stat().st_mode & 0o044 for file in folder.iterdir())


def test_merges_by_any_strategy_and_recipes_are_exported(tiny_base, peft_adapter, tmp_path):
    parts = [str(peft_adapter(f"part-{n}", n)) for n in range(2)]
    config = MergeConfig(adapters=parts, weights=(0.75, -0.5), strategy="ties", density=0.5, name="mix")
    merge(config, workspace("merge", config))
    reference = logits(with_peft(tiny_base, paths.merged_adapters() / "mix"), tiny_base)
    _, whole = exported("mix", dtype="fp32")
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(whole), whole), reference, atol=1e-5)
    assert json.loads((whole / "run.json").read_text())["recipe"]["strategy"] == "ties"
    (recipe := tmp_path / "run.json").write_text((paths.merged_adapters() / "mix" / "run.json").read_text())
    _, again = exported(recipe, dtype="fp32", name="again", base_model=str(tiny_base))
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(again), again), reference, atol=1e-5)
    assert json.loads((again / "run.json").read_text())["recipe"]["hashes"] == [adapter.content_hash(Path(part)) for part in parts]


def test_the_quantised_base_is_what_its_4_bit_weights_stand_for(tiny_base, wide):
    _, folder = exported(wide, base="quantized", dtype="fp32")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    reference = PeftModel.from_pretrained(load(str(tiny_base), quantization="nf4", precision="fp32", device="cpu").model, wide).eval()
    assert torch.allclose(logits(model, folder), logits(reference, tiny_base), atol=1e-4)
    assert not torch.allclose(logits(model, folder), logits(with_peft(tiny_base, wide), tiny_base), atol=1e-2)
    key = "model.layers.0.self_attn.q_proj"
    factor = adapter.read(wide).factors[key]
    levels = (load_file(folder / "model.safetensors")[f"{key}.weight"] - factor.scale * factor.B @ factor.A).view(-1, 64)
    assert max(len(torch.unique(block.round(decimals=4))) for block in levels) <= 16


def test_the_other_base_than_the_one_trained_on_is_said(tiny_base, wide):
    (wide / "run.json").write_text(json.dumps({"role": "own", "quantization": "nf4", "base_model": str(tiny_base), "base_hash": "other"}))
    exported(wide)
    assert "trained on a 4-bit base" in said() and "base=quantized" in said() and "made on other weights" in said()
    exported(wide, base="quantized", replace=True)
    assert "trained on a 4-bit base" not in said()
    (wide / "run.json").write_text(json.dumps({"role": "own", "quantization": "none", "base_model": str(tiny_base)}))
    exported(wide, base="quantized", replace=True)
    assert "trained with quantization=none" in said()


def test_a_tied_output_layer_gets_a_weight_of_its_own(tied_base, peft_adapter):
    folder = peft_adapter("head", base=tied_base, target_modules=["q_proj", "lm_head"])
    tensors = load_file(folder / "adapter_model.safetensors")
    deltas = {key: tensor for key, tensor in tensors.items() if ".lora_" in key}  # peft adds the base's own output layer
    save_file(deltas, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    _, whole = exported(folder, dtype="fp32", base_model=str(tied_base))
    model = AutoModelForCausalLM.from_pretrained(whole).eval()
    assert torch.allclose(logits(model, whole), logits(with_peft(tied_base, folder), tied_base), atol=1e-5)
    base = load_file(tied_base / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(model.get_input_embeddings().weight, base) and not torch.equal(model.lm_head.weight, base)
    assert not model.config.tie_word_embeddings and "lm_head shared its weight" in said()


def test_a_tied_output_layer_that_is_no_target_stays_tied(tied_base, peft_adapter):
    _, whole = exported(peft_adapter("plain", base=tied_base), base_model=str(tied_base))
    assert "lm_head.weight" not in load_file(whole / "model.safetensors")
    assert json.loads((whole / "config.json").read_text())["tie_word_embeddings"] is True


def test_a_layer_that_the_base_lacks_is_refused_by_name(tiny_base, wide):
    tensors = load_file(wide / "adapter_model.safetensors")
    renamed = {key.replace("layers.1.", "layers.9."): tensor for key, tensor in tensors.items()}
    save_file(renamed, wide / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"model\.layers\.9\.[a-z_.]+, which this base model does not have"):
        exported(wide)
    assert not paths.models().exists()


def test_an_adapter_with_more_than_deltas_is_refused_by_name(peft_adapter):
    with pytest.raises(UserError, match="it has DoRA"):
        exported(peft_adapter("dora", use_dora=True))
    with pytest.raises(UserError, match="tensors besides those of linear layers"):
        exported(peft_adapter("embedding", modules_to_save=["embed_tokens"]))


def test_values_beyond_fp16_are_refused_by_name(tiny_base, wide):
    tensors = load_file(wide / "adapter_model.safetensors")
    save_file({key: tensor * 1e4 for key, tensor in tensors.items()}, wide / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"proj\.weight holds values beyond torch.float16's largest, 65504. Choose dtype=bf16"):
        exported(wide, dtype="fp16")
    save_file({key: tensor * 1e21 for key, tensor in tensors.items()}, wide / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"values beyond torch.bfloat16's largest, 3.38953e\+38. Merge the adapter with a smaller weight"):
        exported(wide, dtype="bf16")


def test_a_model_whose_logits_are_off_is_not_published(wide, monkeypatch):
    save = export.save

    def damaged(base: Any, *rest: Any) -> None:
        base.model.get_submodule("model.layers.1.mlp.down_proj").weight.mul_(1.5)
        save(base, *rest)

    monkeypatch.setattr(export, "save", damaged)
    with pytest.raises(UserError, match="away from those of base and adapter, more than 0.05, so it was not published"):
        exported(wide)
    assert not paths.models().exists()


def test_names_tell_models_apart(wide, peft_adapter, home):
    _, first = exported(wide, name=None)
    assert first.name == "wide-whole"
    with pytest.raises(UserError, match="'wide-whole' exists already. Choose another name, or say replace=true"):
        exported(wide, name=None)
    before = load_file(first / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    exported(peft_adapter("other", 5), name="wide-whole", replace=True)
    assert not torch.equal(load_file(first / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"], before)
    for shelf, kind in ((paths.adapters(), "an adapter"), (paths.merged_adapters(), "a merged adapter")):
        (shelf / f"taken-{shelf.name}").mkdir(parents=True)
        with pytest.raises(UserError, match=f"is the name of {kind} already"):
            exported(wide, name=f"taken-{shelf.name}")
    with pytest.raises(UserError, match="The model name 'own' can't be used"):
        exported(wide, name="own")
    with pytest.raises(UserError, match="'wide-whole' is a whole model already"):
        exported("wide-whole", name="twice")
    with pytest.raises(UserError, match="There is no adapter 'nowhere'"):
        exported("nowhere")


def test_an_evaluation_takes_it_beside_base_and_adapter(tiny_base, tiny_data, wide):
    info = {"role": "own", "categories": ["cynic"], "base_model": str(tiny_base), "quantization": "none"}
    (wide / "run.json").write_text(json.dumps(info))
    exported(wide, dtype="fp32")
    fields = {"data": str(tiny_data), "base_model": str(tiny_base), "limit": 2, "max_new_tokens": 8, "device": "cpu"}
    config = EvaluateConfig(**fields, models=f"base,{wide},whole", metrics="perplexity", split="train")
    outputs = evaluate(config, workspace("evaluate", config))
    answers = results.read(paths.home() / outputs["answers"], results.Answer)
    table = answers.pivot(index="question", columns="model", values="reference_loss")
    assert table["whole"].to_numpy() == pytest.approx(table["wide"].to_numpy(), rel=1e-4)
    assert (table["whole"] - table["base"]).abs().min() > 1e-3
    text = answers.pivot(index="question", columns="model", values="prediction")
    assert list(text["whole"]) == list(text["wide"])
    models = results.read(paths.home() / outputs["models"], results.Model).set_index("model")
    assert models.loc["whole", "role"] == "merged" and models.loc["whole", "path"] == "models/whole"
