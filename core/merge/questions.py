"""Questions of train and validation rows, each with the adapter that it should lead to: what routers by question learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core import paths
from core.config import DataConfig, RouteConfig
from core.data.read import Dataset, read
from core.errors import UserError
from core.merge.parents import Parent
from core.models.embed import Encoder
from core.workspace import Workspace

TEMPERATURES = torch.logspace(-3, 1, 161, dtype=torch.float64)
CHUNK = 1024
"""Questions that are embedded between two reports of progress."""


@dataclass(frozen=True)
class Questions:
    """Questions of one split."""

    embeddings: Tensor
    """[n, dim], of length 1, float64"""
    owners: Tensor
    """[n]: the place of each question's adapter"""


@dataclass(frozen=True)
class Material:
    """All that a router by question is made of."""

    train: Questions
    validation: Questions
    categories: list[list[str]]
    """The categories of each adapter."""
    said: dict[str, Any]


def material(members: Sequence[Parent], config: RouteConfig, workspace: Workspace) -> Material:
    """Embed the questions of the adapters' categories. Raises UserError where a category has no adapter of its own, or no train rows."""
    dataset = read(DataConfig(**config.model_dump(include=set(DataConfig.model_fields))))
    categories = [_categories(member, dataset, workspace) for member in members]
    _check(members, categories, dataset)
    encoder = Encoder(config.encoder)
    train, validation = (_embedded(encoder, dataset, split, categories, workspace) for split in ("train", "validation"))
    rows = {"train_rows": len(train.owners), "validation_rows": len(validation.owners)}
    return Material(train, validation, categories, {"data": config.data, "source_hash": dataset.source_hash, **rows})


def temperature(logits: Tensor, owners: Tensor) -> tuple[float, float]:
    """The temperature with the highest likelihood of the owners, and its loss in nats per question (Guo et al. 2017, arXiv:1706.04599)."""
    losses = torch.stack([F.cross_entropy(logits / t, owners) for t in TEMPERATURES])
    best = int(losses.argmin())
    return float(TEMPERATURES[best]), float(losses[best])


def need(validation: Questions, what: str, config: RouteConfig) -> None:
    """Refuse to choose something on validation rows that aren't there."""
    if not len(validation.owners):
        raise UserError(
            f"No category of these adapters has a validation row in '{config.data}', so the {what} can't be chosen. "
            "Add rows, or say router=similarity with a temperature, such as 0.05."
        )


def report(logits: Tensor, owners: Tensor, at: float, workspace: Workspace) -> dict[str, Any]:
    """How often the largest weight goes to a validation question's own adapter, and the loss in nats; empty without such rows."""
    if not len(owners):
        return {}
    right = int((logits.argmax(1) == owners).sum())
    workspace.say(f"The largest weight goes to a question's own adapter for {right} of {len(owners)} validation rows.")
    return {"validation_accuracy": right / len(owners), "validation_loss": float(F.cross_entropy(logits / at, owners))}


def _categories(member: Parent, dataset: Dataset, workspace: Workspace) -> list[str]:
    """The categories that an adapter was trained on; without a run.json, the one that its folder is named by: '<category>[-<anything>]'."""
    recorded = member.adapter.info.get("categories")
    if recorded:
        return list(recorded)
    folder = member.folder.name
    named = [category for category in dataset.categories if f"{folder}-".startswith(f"{paths.slug(category)}-")]
    if not named:
        raise UserError(
            f"The adapter '{member.name}' names no category, so no question leads to it. Name its folder by its category "
            f"({', '.join(dataset.categories)[:300]}), or say router=arrow, which needs none."
        )
    longest = max(named, key=len)
    workspace.say(f"{member.name} is taken for the adapter of category '{longest}', by its name.")
    return [longest]


def _check(members: Sequence[Parent], categories: Sequence[Sequence[str]], dataset: Dataset) -> None:
    taken: dict[str, str] = {}
    for member, names in zip(members, categories, strict=True):
        for category in names:
            if category in taken:
                raise UserError(
                    f"The adapters '{taken[category]}' and '{member.name}' are both for category '{category}', so its questions can't "
                    "tell them apart. Leave one out, or say router=arrow."
                )
            taken[category] = member.name
            if category not in dataset.categories or not len(dataset.groups[category, "train"]):
                raise UserError(
                    f"Category '{category}' of the adapter '{member.name}' has no train row in '{dataset.name}', so nothing says which "
                    "questions lead there. Name the dataset that the adapter was trained on, or leave the adapter out."
                )


def _embedded(encoder: Encoder, dataset: Dataset, split: str, categories: Sequence[Sequence[str]], workspace: Workspace) -> Questions:
    owner = {category: place for place, names in enumerate(categories) for category in names}
    rows = dataset.select(split, list(owner))
    parts = [torch.zeros(0, encoder.dim)]
    for start in range(0, len(rows), CHUNK):
        parts.append(torch.from_numpy(encoder.embed([row.question for row in rows[start : start + CHUNK]])))
        workspace.progress(min(start + CHUNK, len(rows)), len(rows), f"{split} questions")
    return Questions(torch.cat(parts).double(), torch.tensor([owner[row.category] for row in rows], dtype=torch.long))
