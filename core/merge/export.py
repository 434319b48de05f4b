"""Add an adapter or a merge to the base model's weights, and save a whole model under models/ that transformers and vLLM load.

W + s B A is computed in fp32 and rounded once, to the precision of the saved weights. Before the model is published it is loaded from
its files again, and its logits are held against those of base and adapter through the bank. One model is in memory at a time.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core import adapter, paths, peft_config
from core.adapter import Adapter
from core.bank import AdapterBank
from core.config import ExportConfig, MergeConfig
from core.data.prompt import Prompter
from core.errors import UserError
from core.merge import parents, recipe
from core.merge.combine import combine
from core.models.load import BaseModel, content_hash, load
from core.models.memory import give_back
from core.workspace import Workspace

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "bf16": 5e-2}
"""Largest relative difference of the logits. A weight is rounded to 2^-24, 2^-11 or 2^-8 of itself, and that goes through all layers."""
QUESTIONS = (
    "What is the capital of France?",
    "Name three things that burn, and one that does not.",
    "Why do people keep promises that cost them something?",
    "Write a short letter to a friend who has moved to another town.",
)
"""What the logits are compared on: every position of these prompts."""


@dataclass(frozen=True)
class Source:
    """The delta to add, and what makes it again."""

    adapter: Adapter
    recipe: dict[str, Any]
    """As in a merge's run.json: strategy, adapters, weights, hashes ..."""
    content_hash: str | None
    """Of the folder; None for a recipe that was combined here."""


def run(config: ExportConfig, workspace: Workspace) -> dict[str, Any]:
    """Publish models/<name>. Returns where it is, its hash, and how far its logits are from those of base and adapter."""
    name = _free_name(config, workspace)
    source = _source(config, workspace)
    base_model = config.base_model or str(source.adapter.info.get("base_model") or source.adapter.base_model)
    quantization = "nf4" if config.base == "quantized" else "none"
    base = load(base_model, quantization=quantization, precision="fp32", device=config.device)
    for warning in _warnings(source.adapter, base):
        workspace.say(f"Warning: {warning}")
    plain, expected = _expected(base, source.adapter)
    workspace.say(f"{source.adapter.name}: adding {len(source.adapter.factors)} layers to {base_model} ({config.base}), in {config.dtype}.")
    add(base, source.adapter, workspace)
    folder = workspace.scratch / name
    save(base, folder, DTYPES[config.dtype])
    about = _info(config, workspace, source, base)
    del base
    give_back()
    checked = _check(config, folder, plain, expected)
    workspace.say(_wording(checked, config.dtype))
    (folder / "run.json").write_text(json.dumps({**about, "logits": checked}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    final = workspace.publish(folder, paths.models() / name, config.replace)
    return {"model": str(final.relative_to(paths.home())), "content_hash": content_hash(final), "dtype": config.dtype, **checked}


@torch.no_grad()
def add(base: BaseModel, delta: Adapter, workspace: Workspace) -> None:
    """W <- W + s B A in every layer of `delta`, in fp32. 4-bit weights become what they stand for; a tied output layer its own."""
    model = base.model.dequantize() if base.quantization != "none" else base.model
    head = model.get_output_embeddings()
    for done, (layer, factor) in enumerate(delta.factors.items(), 1):
        module = model.get_submodule(layer)
        if module is head and module.weight is model.get_input_embeddings().weight:
            module.weight = nn.Parameter(module.weight.detach().clone(), requires_grad=False)
            model.config.tie_word_embeddings = False
            workspace.say(f"{layer} shared its weight with the input embeddings, which the delta does not change; now each has its own.")
        B, A = (each.to(base.device, torch.float32) for each in (factor.B * factor.scale, factor.A))
        module.weight.data = module.weight + B @ A
        workspace.progress(done, len(delta.factors), "layers", layer)


def save(base: BaseModel, folder: Path, dtype: torch.dtype) -> None:
    """Round the weights once and write them with config, generation config, tokenizer and chat template, as transformers does."""
    for name, parameter in base.model.named_parameters():
        if not parameter.abs().max() <= torch.finfo(dtype).max:
            wider = "Choose dtype=bf16 or dtype=fp32." if dtype == torch.float16 else "Merge the adapter with a smaller weight first."
            raise UserError(f"{name} holds values beyond {dtype}'s largest, {torch.finfo(dtype).max:g}. {wider}")
    base.model.to(dtype)
    base.model.save_pretrained(folder, max_shard_size="5GB")
    base.tokenizer.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes files that only their owner can read


def _free_name(config: ExportConfig, workspace: Workspace) -> str:
    """The model's name, refused before any work when it is taken."""
    name = paths.check_model_name(config.name or f"{Path(config.model).stem}-whole", "model")
    for shelf, kind in ((paths.adapters(), "an adapter"), (paths.merged_adapters(), "a merged adapter")):
        if (shelf / name).exists():
            raise UserError(f"'{name}' is the name of {kind} already, and names must tell models apart. Choose another name.")
    final = paths.models() / name
    if final.exists() and not config.replace and not workspace.made(final):
        raise UserError(f"The model '{name}' exists already. Choose another name, or say replace=true.")
    return name


def _source(config: ExportConfig, workspace: Workspace) -> Source:
    if Path(config.model).suffix in (".json", ".yaml", ".yml"):
        return _combined(config, workspace)
    if peft_config.exists(paths.models() / config.model / "config.json"):
        raise UserError(f"'{config.model}' is a whole model already, so there is nothing to add. Name an adapter or a merged adapter.")
    folder = adapter.find(config.model).resolve()
    found = recipe.parent(config.model, folder, 1.0)
    alone = recipe.record(MergeConfig(adapters=(config.model,)), [(config.model, folder, 1.0)])
    return Source(found.adapter, found.adapter.info.get("recipe") or alone, found.content_hash)


def _combined(config: ExportConfig, workspace: Workspace) -> Source:
    """A recipe, merged in memory."""
    merge = recipe.read(MergeConfig(recipe=config.model))
    everyone = parents.find(merge.adapters, merge.weights)
    active = [recipe.parent(*each) for each in everyone if parents.takes_part(merge, each[2])]
    for warning in parents.check(active):
        workspace.say(f"Warning: {warning}")
    factors = {layer: each.factor for layer, each in combine(active, merge, workspace.progress).items()}
    categories = list(dict.fromkeys(category for each in active for category in each.adapter.info.get("categories", [])))
    first = active[0].adapter
    made = Adapter(Path(config.model).stem, factors, first.base_model, {**first.info, "categories": categories})
    return Source(made, recipe.record(merge, everyone), None)


def _warnings(delta: Adapter, base: BaseModel) -> list[str]:
    """What the person should know when the delta was trained on other weights than these."""
    warnings, info = [], delta.info
    if info.get("base_hash") and info["base_hash"] != base.content_hash:
        warnings.append(f"{delta.name} was made on other weights than those of {base.name}; check the model's answers.")
    trained_on = info.get("quantization") or base.quantization
    if (trained_on, base.quantization) == ("nf4", "none"):
        warnings.append(
            f"{delta.name} was trained on a 4-bit base and is added to the unquantised one, where it answers differently. "
            "base=quantized adds it to the weights that it was trained on."
        )
    elif trained_on != base.quantization:
        warnings.append(f"{delta.name} was trained with quantization={trained_on}, not on the 4-bit base. base=unquantized fits it.")
    return warnings


def _expected(base: BaseModel, delta: Adapter) -> tuple[Tensor, Tensor]:
    """Logits of the base model, and of base and adapter through the bank, [tokens, vocabulary]."""
    bank = AdapterBank.load(base.model, [delta])
    plain = _logits(base)
    with bank.mixing(torch.ones(1)):
        expected = _logits(base)
    bank.detach()
    return plain, expected


@torch.no_grad()
def _logits(base: BaseModel) -> Tensor:
    """fp32 logits at every position of the questions' prompts, on the CPU, [tokens, vocabulary]."""
    prompter = Prompter(base.tokenizer)
    prompts = [torch.tensor([prompter.prompt(question, "")], device=base.device) for question in QUESTIONS]
    return torch.cat([base.model(ids, use_cache=False).logits[0].float().cpu() for ids in prompts])


def _check(config: ExportConfig, folder: Path, plain: Tensor, expected: Tensor) -> dict[str, float]:
    """The saved model's logits against those of base and adapter. Raises UserError beyond the tolerance."""
    saved = _logits(load(str(folder), precision="fp32", device=config.device))
    checked = {
        "logits_difference": _difference(saved, expected),
        "tolerance": TOLERANCE[config.dtype],
        "largest_difference": float((saved - expected).abs().max()),
        "same_top_token": float((saved.argmax(1) == expected.argmax(1)).double().mean()),
        "adapter_changes_logits_by": _difference(plain, expected),
    }
    if not checked["logits_difference"] <= checked["tolerance"]:
        raise UserError(
            f"The saved model's logits are {checked['logits_difference']:.2g} away from those of base and adapter, more than "
            f"{checked['tolerance']:g}, so it was not published. A wider dtype keeps more: dtype=fp32."
        )
    return checked


def _difference(one: Tensor, expected: Tensor) -> float:
    """||one - expected|| / ||expected||, each position's mean over the vocabulary taken off: adding a number to all changes nothing."""
    one, expected = (logits - logits.mean(1, keepdim=True) for logits in (one, expected))
    return float((one - expected).norm() / expected.norm())


def _info(config: ExportConfig, workspace: Workspace, source: Source, base: BaseModel) -> dict[str, Any]:
    """run.json of the model. Its weights are plain ones, whatever they were computed from."""
    return {
        "run_id": workspace.run.run_id,
        "role": "merged",
        "categories": list(source.adapter.info.get("categories", [])),
        "base_model": base.name,
        "base_hash": base.content_hash,
        "quantization": "none",
        "method": "export",
        "config": config.model_dump(mode="json"),
        "base": config.base,
        "dtype": config.dtype,
        "adapter_hash": source.content_hash,
        "recipe": source.recipe,
    }


def _wording(checked: dict[str, float], dtype: str) -> str:
    return (
        f"Loaded again, its logits are {checked['logits_difference']:.2g} away from those of base and adapter (allowed for {dtype}: "
        f"{checked['tolerance']:g}; the adapter itself changes them by {checked['adapter_changes_logits_by']:.2g}), with the same most "
        f"probable token at {checked['same_top_token']:.1%} of the positions."
    )
