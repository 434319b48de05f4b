"""The whole road on one dataset."""

from typing import Annotated, Literal

from pydantic import Field

from core.config.fields import DatasetConfig, Seed, Some, one_of
from core.judge import BACKENDS


class StudyConfig(DatasetConfig):
    """The whole road on one dataset as one job: report on the data, train, merge, evaluate, judge, and write the bundle."""

    size: Literal["small", "medium", "large"] = "small"
    """How much: small ends in minutes and shows the way; medium is a first result; large asks every held-out question."""
    base_model: str = "bundled"
    """Base model: 'bundled' (SmolLM2-135M-Instruct), a local folder, or a hub id."""
    system_prompt: str | None = None
    """System message of every prompt, for every model; {category} stands for the row's category. Empty: the chat template's own."""
    most_categories: int = Field(8, ge=1, le=100)
    """Categories that get an adapter of their own and are examined, the largest first. Every adapter answers every question."""
    backend: Annotated[Some, one_of(BACKENDS, "judge backend")] = ("similarity",)
    """Who judges; several between commas. similarity needs no key, and is no language model."""
    name: str | None = None
    """What its adapters and merges start with. Empty: the file's name."""
    replace: bool = False
    """Overwrite adapters and merges that have these names already."""
    seed: Seed = 0
    """Seed of the whole study."""
