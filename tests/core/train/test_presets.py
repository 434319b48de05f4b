"""Every preset of `train` really runs: two steps on the tiny base model."""

from pathlib import Path

import pytest

from core import adapter, paths, results, runs
from core.config import TrainConfig
from core.presets import PRESETS
from core.results import Step
from core.train.run import run
from core.workspace import Workspace


@pytest.mark.parametrize("preset", PRESETS["train"])
def test_preset_trains(preset: str, tiny_base: Path, tiny_data: Path) -> None:
    settings = PRESETS["train"][preset]
    config = TrainConfig(**{**settings, "data": str(tiny_data), "base_model": str(tiny_base), "max_steps": 2})
    outputs = run(config, Workspace(runs.create("train", config.model_dump(mode="json"))))
    steps = results.read(paths.home() / outputs["steps"], Step)
    assert (steps.groupby("adapter")["step"].max() == 2).all()
    assert sorted(outputs["adapters"]) == sorted(steps["adapter"].unique())
    assert len(outputs["adapters"]) == (1 if config.categories == ("pooled",) else 3)
    for name in outputs["adapters"]:
        made = adapter.read(paths.adapters() / name)
        assert {factor.rank for factor in made.factors.values()} == {config.r}
        assert {factor.scale for factor in made.factors.values()} == {config.lora_alpha / config.r}
        assert made.info["quantization"] == ("nf4" if config.method == "qlora" else "none")
        assert max(factor.B.abs().max() for factor in made.factors.values()) > 0


def test_presets_are_the_sources_settings() -> None:
    shared = {"r": 64, "batch_size": 4, "gradient_accumulation": 2, "learning_rate": 5e-4, "schedule": "cosine"}
    expected = {
        "philosophy_full": {**shared, "epochs": 3, "categories": ("pooled",)},
        "philosophy_category": {**shared, "epochs": 24, "categories": ("each",)},
        "alpaca_poc": {
            **{"r": 8, "lora_alpha": 16, "lora_dropout": 0.05, "batch_size": 1, "gradient_accumulation": 8, "max_steps": 500},
            **{"learning_rate": 2e-4, "warmup_steps": 50, "precision": "fp16"},
        },
        "production_qlora": {
            **{"method": "qlora", "r": 16, "lora_alpha": 32, "epochs": 3, "batch_size": 4, "learning_rate": 2e-4, "max_seq_length": 512}
        },
    }
    for preset, fields in expected.items():
        config = TrainConfig(**PRESETS["train"][preset])
        assert {name: getattr(config, name) for name in fields} == fields, preset
