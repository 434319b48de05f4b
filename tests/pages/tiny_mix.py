"""Three small adapters on the tiny base, strong enough that a mix answers unlike its parts; no one was trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.config import ServeConfig
from core.serve import resident

CATEGORIES = ("cynic", "lexicon", "hacker")
ADAPTERS = tuple(f"{category}-lora" for category in CATEGORIES)
SYSTEM_PROMPT = "Answer as a {category}."


def write(home: Path, base: Path, data: Path) -> None:
    """cynic-lora, lexicon-lora, hacker-lora and pooled-lora under adapters/."""
    import torch

    from core.adapter import Adapter, Factor, write

    config = {"data": str(data), "system_prompt": SYSTEM_PROMPT, "max_seq_length": 256}
    for seed, name in enumerate((*ADAPTERS, "pooled-lora")):
        made = torch.Generator().manual_seed(seed)
        factors = {
            f"model.layers.{layer}.self_attn.{kind}": Factor(
                torch.randn(4, 64, generator=made), torch.randn(out, 4, generator=made) * 0.2, 1.0
            )
            for layer in range(2)
            for kind, out in (("q_proj", 64), ("v_proj", 32))
        }
        role = "pooled" if name.startswith("pooled") else "own"
        info = {
            "role": role,
            "categories": [CATEGORIES[seed]] if role == "own" else list(CATEGORIES),
            "base_model": str(base),
            "method": "lora",
            "run_id": f"run-{seed}",
            "config": config,
        }
        write(Adapter(name, factors, str(base), info), home / "adapters" / name)


@contextmanager
def home_with_engine(home: Path, base: Path, data: Path, **config: Any) -> Iterator[Path]:
    """Within: a LYCEUM_HOME with these adapters and an engine that runs. `config`: fields of a ServeConfig."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", str(home))
        write(home, base, data)
        resident.start(ServeConfig(base_model=str(base), **config))
    yield home
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", str(home))
        resident.stop()
