"""Base models: 'bundled' (SmolLM2-135M-Instruct from its package), a local folder, or a Hugging Face hub id.

Weights are safetensors only, never pickle, and no code of a repository is ever run (`trust_remote_code` stays off).
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import scan_cache_dir, snapshot_download
from huggingface_hub.errors import CacheNotFound, GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils.logging import disable_progress_bar

from core import paths, store
from core.data.prompt import FALLBACK_TEMPLATE
from core.errors import UserError
from core.models import bundled, hub
from core.models.memory import give_back

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
_NOT_FILES = ["original/*", "onnx/*", "runs/*"]


@dataclass(frozen=True)
class BaseModel:
    """A frozen model in evaluation mode with its tokenizer, whose pad token differs from its end token."""

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    name: str
    """As the person gave it."""
    hub_name: str
    """What PEFT folders name as their base."""
    content_hash: str
    quantization: str


def load(name: str, *, quantization: str = "none", precision: str = "auto", device: str = "auto") -> BaseModel:
    """Load a base model; nothing of it trains. `quantization='nf4'` holds its linear layers in 4 bit, on CPU too."""
    folder = resolve(name)
    place = choose_device(device)
    dtype = choose_dtype(precision, place)
    tokenizer = load_tokenizer(name)
    model = _read_model(folder, place, dtype, quantization).eval().requires_grad_(False)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise UserError(
            f"The tokenizer in {folder} has {len(tokenizer)} tokens, the model only {model.get_input_embeddings().num_embeddings}. "
            "They don't belong together; copy both from the same model."
        )
    hub_name = bundled.HUB_NAME if name == bundled.NAME else name
    return BaseModel(model, tokenizer, place, dtype, name, hub_name, content_hash(folder), quantization)


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a base model, with a pad token that differs from the end token, and a chat template."""
    folder = resolve(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises plain Exception for a damaged file
        raise UserError(
            f"The tokenizer in {folder} can't be read ({_first_line(error)}). Copy the model's tokenizer files into it again."
        ) from error
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"The tokenizer in {folder} names no end token, so answers could never stop. Set eos_token in tokenizer_config.json."
        )
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        tokenizer.pad_token = _unused_token(tokenizer)
    tokenizer.padding_side = "left"
    if not tokenizer.chat_template:
        tokenizer.chat_template = ("{{ bos_token }}" if _starts_with_bos(tokenizer) else "") + FALLBACK_TEMPLATE
    return tokenizer


def resolve(name: str) -> Path:
    """The folder of a base model. 'bundled' is converted on first use; a hub id is fetched unless it is in the hub's cache."""
    if name == bundled.NAME:
        return bundled.converted()
    given = next((place for place in (Path(name).expanduser(), paths.home() / name) if place.is_dir()), None)
    return _checked(given or _fetched(name))


def choose_device(device: str) -> torch.device:
    """`auto`: CUDA, then MPS, then CPU."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(kind for kind, there in found.items() if there)
    if not found[device]:
        raise UserError(f"device={device} was asked for, but this machine has none that torch can use. Say device=auto or device=cpu.")
    return torch.device(device, torch.cuda.current_device()) if device == "cuda" else torch.device(device)


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto`: bf16 where the GPU has it, else fp16; fp32 on CPU."""
    if precision == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def content_hash(folder: Path) -> str:
    """sha256 over the bytes of the weight files, in the order of their names, remembered by size and time of change."""
    store.need(folder)
    files = sorted(folder.glob("*.safetensors"))
    key = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    memory = paths.cache() / "hashes" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json"
    if memory.exists():
        known = json.loads(memory.read_text())
        if known["files"] == key:
            return str(known["sha256"])
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):  # noqa: B023 - used at once
                digest.update(block)
    memory.parent.mkdir(parents=True, exist_ok=True)
    temporary = memory.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"folder": str(folder), "files": key, "sha256": digest.hexdigest()}))
    os.replace(temporary, memory)
    return digest.hexdigest()


def offline_names() -> list[str]:
    """Names of base models that need no network: 'bundled', and what the hub's cache holds."""
    names = [bundled.NAME] if bundled.gguf() else []
    try:
        cached = scan_cache_dir().repos
    except CacheNotFound:
        cached = frozenset()
    return names + sorted(repo.repo_id for repo in cached if repo.repo_type == "model")


def keep_differentiable(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit layers for inference, which it does in the first pass without gradients on CPUs with bf16.

    What passes through a repacked layer loses its gradient without a word, and is computed in bf16, whatever the precision.
    """
    for module in model.modules():
        if getattr(getattr(getattr(module, "weight", None), "quant_state", None), "packing_format_for_cpu", False):
            raise UserError("This model's 4-bit layers were repacked for inference when it first answered. Load it anew, tune first.")
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _read_model(folder: Path, device: torch.device, dtype: torch.dtype, quantization: str) -> Any:
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)
    disable_progress_bar()  # the run's log is for its own progress
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            device_map={"": device},
            attn_implementation="sdpa",
            quantization_config=nf4 if quantization == "nf4" else None,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"The base model in {folder} doesn't fit into the memory of {device} in {dtype}. Say quantization=nf4, or device=cpu."
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"The base model in {folder} can't be loaded ({_first_line(error)}). Copy or download it again.") from error
    if info["missing_keys"]:
        some = ", ".join(sorted(info["missing_keys"])[:3])
        raise UserError(
            f"The weights in {folder} lack {len(info['missing_keys'])} tensors of the model (such as {some}). Copy or download it again."
        )
    if quantization == "nf4":
        keep_differentiable(model)
        _let_go_of_files(model)
    give_back()
    return model


def _let_go_of_files(model: Any) -> None:
    """Copy the tensors that are still views of the weight files: a single one keeps the whole file in memory on a CPU."""
    for parameter in model.parameters():
        if parameter.device.type == "cpu" and parameter.is_floating_point():
            parameter.data = parameter.data.clone()


def _fetched(name: str) -> Path:
    """The snapshot of a hub id: from the hub's cache when complete there, else downloaded."""
    if not _HUB_ID.fullmatch(name):
        raise UserError(f"There is no folder '{name}', and it is no hub id either. {_choices()}")
    hub.settle()
    try:
        return Path(snapshot_download(name, allow_patterns=_FILES, ignore_patterns=_NOT_FILES))
    except LocalEntryNotFoundError as error:
        raise UserError(f"Base model '{name}' is not on this machine, and the Hugging Face hub can't be reached. {_choices()}") from error
    except GatedRepoError as error:
        raise UserError(
            f"Base model '{name}' needs its owner's leave: ask for it at https://huggingface.co/{name}, then log in."
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise UserError(f"Base model '{name}' can't be fetched from the Hugging Face hub ({_first_line(error)}). {_choices()}") from error


def _choices() -> str:
    names = offline_names()
    offline = f"Available offline: {', '.join(names)}." if names else f"Nothing is available offline; {bundled.INSTALL}"
    return f"{offline} Or give the path of a folder with config.json, *.safetensors and a tokenizer: base_model=/path/to/folder."


def _checked(folder: Path) -> Path:
    """`folder` if it can hold a model that is safe to load."""
    if not (folder / "config.json").exists():
        what = "an adapter, no base model" if (folder / "adapter_config.json").exists() else "no model folder: it has no config.json"
        raise UserError(f"{folder} is {what}. Give a folder with config.json, *.safetensors and a tokenizer.")
    store.need(folder)
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in folder.glob(pattern))
        why = f"only pickled weights ({pickled[0]}), which can run code when loaded" if pickled else "no weights"
        raise UserError(f"{folder} has {why}. Save the model there as safetensors: model.save_pretrained(folder).")
    return folder


def _unused_token(tokenizer: Any) -> str:
    """A token that prompts and answers don't use: unk, else a special token that the chat template lacks, else the vocabulary's last."""
    taken = {tokenizer.eos_token, tokenizer.bos_token}
    special = [str(token) for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    free = [token for token in special if token not in taken and token not in (tokenizer.chat_template or "")]
    named_pad = [token for token in free if "pad" in token.lower()]
    unknown = [tokenizer.unk_token] if tokenizer.unk_token not in (None, *taken) else []
    last = tokenizer.convert_ids_to_tokens(max(tokenizer.get_vocab().values()))
    return str([*named_pad, *unknown, *free, last][0])


def _starts_with_bos(tokenizer: Any) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("a").input_ids[0] == tokenizer.bos_token_id


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300].rstrip(".")
