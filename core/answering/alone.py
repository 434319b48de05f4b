"""Models that can't stand beside others in one batch: DoRA adapters, whose change of W is no sum of deltas, and whole models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peft import PeftModel

from core import adapter
from core.config import ComputeConfig
from core.errors import UserError
from core.models.load import BaseModel, load


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a whole model, as full fine-tuning writes it."""
    return (folder / "config.json").exists() and not (folder / "adapter_config.json").exists()


def stands_alone(folder: Path) -> bool:
    """Whether the model in a folder can't join a bank, but can answer by itself."""
    return is_whole(folder) or bool(adapter.read_config(folder).get("use_dora"))


@contextmanager
def loaded(folder: Path, base: BaseModel, config: ComputeConfig) -> Iterator[BaseModel]:
    """Within: the model in a folder, ready to answer. A DoRA is put on the base by PEFT, and taken off again."""
    if is_whole(folder):
        yield load(str(folder), quantization=config.quantization, precision=config.precision, device=config.device)
        return
    try:
        on_base = PeftModel.from_pretrained(base.model, folder).eval()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"'{folder.name}' does not fit this base model ({error}). It was trained on another base; use that one.") from error
    try:
        yield base
    finally:
        on_base.unload()
