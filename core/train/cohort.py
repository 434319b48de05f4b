"""Who trains: the members of a cohort, each with its rows, its order of them, its learning rate and its number of steps.

Nothing of a member depends on the others, so training together and apart are the same.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from core import paths
from core.config import TrainConfig
from core.data.batches import row_order
from core.data.prompt import Encoded, Prompter
from core.data.read import QA, Dataset, Progress
from core.errors import UserError
from core.train import token_store
from core.wording import listed

Role = Literal["own", "pooled"]
Encoder = Callable[[str, Sequence[str]], tuple[Sequence[Encoded], Sequence[QA]]]
"""Token ids and texts of the rows of a split of some categories."""


@dataclass(frozen=True)
class Member:
    """One adapter to train."""

    name: str
    role: Role
    categories: tuple[str, ...]
    train: Sequence[Encoded]
    validation: Sequence[Encoded]
    validation_rows: Sequence[QA]
    config: TrainConfig
    _orders: "dict[int, array[int]]" = field(default_factory=dict, init=False, repr=False, compare=False)
    """The order of the rows in the epoch that goes on."""

    @property
    def rows_per_step(self) -> int:
        """Rows behind one optimiser step."""
        return self.config.batch_size * self.config.gradient_accumulation

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the rows; the last may have fewer rows."""
        return math.ceil(len(self.train) / self.rows_per_step)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        steps = math.ceil(self.config.epochs * self.steps_per_epoch)
        return min(steps, self.config.max_steps or steps)

    def batch(self, step: int) -> list[Encoded]:
        """The rows of optimiser step `step`, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = row_order(len(self.train), epoch, self.config.seed)
        order = self._orders[epoch]
        return [self.train[row] for row in order[place * self.rows_per_step : (place + 1) * self.rows_per_step]]

    def learning_rate(self, step: int) -> float:
        """Linear warm-up from 0, then the schedule; as transformers' get_scheduler does."""
        warmup = self.config.warmup_steps
        if warmup is None:
            warmup = math.ceil(self.config.warmup_ratio * self.total_steps)
        if step < warmup:
            return self.config.learning_rate * step / warmup
        part = (step - warmup) / max(1, self.total_steps - warmup)
        factor = {"constant": 1.0, "linear": 1 - part, "cosine": 0.5 * (1 + math.cos(math.pi * part))}[self.config.schedule]
        return self.config.learning_rate * factor

    def ends_epoch(self, step: int) -> bool:
        """Whether the member is validated after step `step`: at the end of an epoch and at its last step."""
        return (step + 1) % self.steps_per_epoch == 0 or step + 1 == self.total_steps


def gather(
    config: TrainConfig, dataset: Dataset, prompter: Prompter, progress: Progress = lambda done, total: None
) -> tuple[list[Member], list[str]]:
    """The members that `config.categories` asks for, and what a person should know about those left out or cut.

    `progress` hears of the rows of a large dataset, whose tokens are kept on disk when they are made for the first time.
    """
    notes: list[str] = []
    members = []
    groups = _groups(config, dataset)
    encoded = _encoder(dataset, [category for _, categories in groups for category in categories], prompter, progress)
    for role, categories in groups:
        train, _ = encoded("train", categories)
        validation = encoded("validation", categories)
        if train:
            members.append(Member(_name(config, role, categories), role, categories, train, *validation, config))
        elif config.categories == ("each",):
            notes.append(f"Category '{categories[0]}' is left out: it has no training row ({_why_empty(dataset, categories[0])}).")
        else:
            raise UserError(f"There is nothing to train '{', '.join(categories)}' on: {_why_empty(dataset, categories[0])}.")
    if not members:
        raise UserError(
            f"No category of '{config.data}' has a training row with an answer token, so nothing can be trained. "
            "Add rows, or raise max_seq_length; python -m core data shows where they went."
        )
    return members, [*notes, *_unchecked(members), *_plain_lora(config, members)]


def _unchecked(members: Sequence[Member]) -> list[str]:
    """A sentence about members that nothing tells when they were best."""
    names = [f"'{member.name}'" for member in members if not member.validation]
    if not names:
        return []
    each, kept = ("has", "its last weights are kept instead of its best") if len(names) == 1 else ("have", "their last weights are kept")
    return [f"{listed(names)} {each} no validation row, so {kept}."]


def _plain_lora(config: TrainConfig, members: Sequence[Member]) -> list[str]:
    """A sentence about Delta-LoRA that ends before W begins to change."""
    short = [member for member in members if config.method == "delta_lora" and member.total_steps <= config.delta_start + 1]
    if not short:
        return []
    steps = max(member.total_steps for member in short)
    return [
        f"{len(short)} of {len(members)} adapters will be plain LoRA: they train for at most {steps} steps, and with "
        f"delta_start={config.delta_start} W changes only after {config.delta_start + 1}. Lower delta_start or raise epochs."
    ]


def _groups(config: TrainConfig, dataset: Dataset) -> list[tuple[Role, tuple[str, ...]]]:
    if config.categories == ("pooled",):
        return [("pooled", tuple(dataset.categories))]
    chosen: Sequence[str] = dataset.categories if config.categories == ("each",) else config.categories
    if not chosen:
        raise UserError("categories is empty, so there is nothing to train. Say 'each', 'pooled', or name categories.")
    if len(set(chosen)) < len(chosen):
        raise UserError(f"A category stands twice in categories={','.join(chosen)}. Name each once.")
    if config.method == "full" and len(chosen) > 1:
        raise UserError(
            f"Full fine-tuning makes a whole model, and categories={','.join(config.categories)} asks for {len(chosen)} of them at once. "
            "Say categories=pooled for one model on everything, or name one category; for many categories use method=lora."
        )
    return [("own", (category,)) for category in chosen]


def _name(config: TrainConfig, role: Role, categories: tuple[str, ...]) -> str:
    """`<category>-<method>`, or with a name `<name>-<category>`; a single adapter takes the name itself."""
    group = "pooled" if role == "pooled" else paths.slug(categories[0])
    if config.name is None:
        return paths.check_model_name(f"{group}-{config.method}", "adapter")
    single = config.categories == ("pooled",) or (config.categories != ("each",) and len(config.categories) == 1)
    return paths.check_model_name(config.name if single else f"{config.name}-{group}", "adapter")


def _encoder(dataset: Dataset, categories: Sequence[str], prompter: Prompter, progress: Progress) -> Encoder:
    """Encodes splits of these categories, in memory or on disk as the rows are."""
    if dataset.folder:
        return token_store.opened(dataset, categories, prompter, progress).rows
    return lambda split, some: _encode(dataset.select(split, some), prompter)


def _encode(rows: Sequence[QA], prompter: Prompter) -> tuple[list[Encoded], list[QA]]:
    """Token ids of the rows, and the rows; those without any answer token teach nothing and are left out."""
    encoded = prompter.encode_all([(row.question, row.answer, row.category) for row in rows])
    kept = [(example, row) for example, row in zip(encoded, rows, strict=True) if example.answer]
    return [example for example, _ in kept], [row for _, row in kept]


def _why_empty(dataset: Dataset, category: str) -> str:
    return dataset.empty_reason(category, "train") or "max_seq_length leaves no room for an answer in any of its rows"
