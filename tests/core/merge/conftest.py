"""Foreign adapters that differ in everything that may differ, and merges of folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from core import adapter, paths, results, runs
from core.config import MergeConfig, SearchConfig, TrainConfig
from core.data.prompt import Prompter
from core.data.read import QA, read
from core.merge import run as merge_run
from core.merge import search
from core.merge.mixes import Mixes
from core.models.load import load
from core.results import Trial
from core.train.run import run as train
from core.workspace import Workspace

UNEQUAL: list[dict[str, Any]] = [
    {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    {"r": 6, "lora_alpha": 8, "use_rslora": True, "target_modules": ["q_proj", "k_proj", "down_proj"]},
    {
        **{"r": 3, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
        **{"alpha_pattern": {"v_proj": 5}, "rank_pattern": {"layers.1.self_attn.q_proj": 2}},
    },
]
"""Ranks, alphas, rsLoRA, patterns, and layers that not all of them have."""

Deltas = dict[str, torch.Tensor]
VOICE = "Answer in the voice of this school: {category}."
BOUNDS = (-0.5, 1.0)
"""Of the weights that searches try; the lowest loss lies inside."""


@pytest.fixture(scope="session")
def unequal(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three folders that peft itself wrote, with random A and B."""
    folders = []
    for n, fields in enumerate(UNEQUAL):
        folder = tmp_path_factory.mktemp("unequal") / f"unequal-{n}"
        with torch.random.fork_rng():
            torch.manual_seed(n + 1)
            model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), LoraConfig(task_type="CAUSAL_LM", **fields))
            for key, tensor in model.named_parameters():
                if ".lora_" in key:
                    torch.nn.init.normal_(tensor, std=0.1)
        model.save_pretrained(folder)
        folders.append(folder)
    return folders


@pytest.fixture
def merge() -> Callable[..., tuple[dict[str, Any], Path]]:
    """`merge(adapters, **fields)`: outputs and folder of the merge verb."""

    def run(adapters: list[Path | str], **fields: Any) -> tuple[dict[str, Any], Path]:
        config = MergeConfig(adapters=tuple(map(str, adapters)), **fields)
        outputs = merge_run.run(config, Workspace(runs.create("merge", config.model_dump(mode="json"))))
        return outputs, paths.home() / outputs["adapter"]

    return run


@pytest.fixture(scope="session")
def deltas() -> Callable[[Path], Deltas]:
    """The full delta of each layer of a folder, in float64."""

    def read(folder: Path) -> Deltas:
        factors = adapter.read(folder).factors
        return {layer: factor.scale * factor.B.double() @ factor.A.double() for layer, factor in factors.items()}

    return read


class Searched:
    """A search that has been run, or was killed."""

    def __init__(self, config: SearchConfig, workspace: Workspace | None = None) -> None:
        self.workspace = workspace or Workspace(runs.create("search", config.model_dump(mode="json")))
        self.outputs = search.run(config, self.workspace)
        self.table = results.read(self.workspace.path / "trials.csv", Trial)
        self.said = "\n".join(event["message"] for event in runs.read_events(self.workspace.run.run_id, "say"))
        self.best = tuple(self.outputs["weights"].values())

    def figures(self, figure: str, name: str | None = None) -> pd.Series:
        found = self.table[self.table["figure"] == figure]
        return found[found["name"] == name].set_index("trial")["value"] if name else found.set_index("trial")["value"]

    def weights(self) -> np.ndarray:
        return self.table[self.table["figure"] == "weight"].pivot(index="trial", columns="name", values="value").to_numpy()


@pytest.fixture
def searched() -> type[Searched]:
    """Runs a search when called with its config."""
    return Searched


@pytest.fixture(scope="module")
def parts(tiny_base, tiny_data, tmp_path_factory) -> list[str]:
    """Three trained adapters: their mixes have a smooth loss with its lowest point inside the bounds."""
    fields = {"data": str(tiny_data), "base_model": str(tiny_base), "system_prompt": VOICE, "target_modules": "all-linear", "device": "cpu"}
    config = TrainConfig(**fields, r=4, learning_rate=1e-2, max_steps=20, keep="last")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCEUM_HOME", str(tmp_path_factory.mktemp("trained")))
        train(config, Workspace(runs.create("train", {})))
        return [str(paths.adapters() / f"{category}-lora") for category in ("cynic", "lexicon", "hacker")]


@pytest.fixture
def config(tiny_base, tiny_data, parts) -> Callable[..., SearchConfig]:
    def make(**fields: Any) -> SearchConfig:
        common = {"data": str(tiny_data), "base_model": str(tiny_base), "system_prompt": VOICE, "device": "cpu", "limit": None}
        return SearchConfig(**{**common, "adapters": parts, "bounds": BOUNDS, "trials": 0, **fields})

    return make


@pytest.fixture
def rows(tiny_data, config) -> list[QA]:
    return read(config()).select("validation")


@pytest.fixture
def mean_losses() -> Callable[..., np.ndarray]:
    """(config, points) -> the mean over categories at each point, [points], straight from the rows' losses."""

    def losses_at(config: SearchConfig, points: list[tuple[float, ...]]) -> np.ndarray:
        """The mean over categories at each point, [points], straight from the rows' losses."""
        rows = read(config).select("validation")
        base = load(config.base_model, device="cpu")
        encoded = Prompter(base.tokenizer, config.system_prompt).encode_all([(row.question, row.answer, row.category) for row in rows])
        found = search.parents.find(config.adapters, ())
        losses = np.array(
            Mixes(base, [search.recipe.parent(*each) for each in found], encoded).losses([config.mix("linear", p) for p in points])
        )
        tokens, categories = np.array([len(each.answer) for each in encoded]), np.array([row.category for row in rows])
        own = [losses[:, categories == each].sum(1) / tokens[categories == each].sum() for each in dict.fromkeys(categories)]
        return np.mean(own, axis=0)

    return losses_at
