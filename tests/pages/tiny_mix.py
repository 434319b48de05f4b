"""Three small adapters on the tiny base, strong enough that a mix answers unlike its parts; no one was trained."""

from pathlib import Path

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
