"""The one training loop: a cohort of adapters on one frozen base; a single adapter is a cohort of one.

Each optimiser step takes the next rows of every live member, groups all of them by length into micro-batches, and adds up

    sum over members k of  (sum of answer-token losses of k) / (answer tokens of k in this step)

so each member's gradient is that of its own token mean. Clipping, learning rate, steps and stopping are per member.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.bank import AdapterBank
from core.data.batches import by_length, collate
from core.data.prompt import Encoded
from core.errors import UserError
from core.models.load import BaseModel
from core.models.loss import row_losses, token_losses
from core.results import Step
from core.train.cohort import Member

MICRO_BATCH_TOKENS = {"cpu": 1024, "mps": 4096, "cuda": 16384}
"""Rows x longest row of one forward pass: large enough to keep the device busy, small enough for its memory."""


@dataclass
class Progress:
    """How far one member is."""

    step: int = 0
    finished: bool = False
    best_loss: float | None = None
    best_step: int = 0
    stale_epochs: int = 0


class Cohort:
    """Adapters in training: the bank, one AdamW over all members, and each member's progress and best weights."""

    def __init__(self, base: BaseModel, bank: AdapterBank, tensors: dict[str, Tensor], members: Sequence[Member]) -> None:
        self.base = base
        self.bank = bank
        self.tensors = tensors
        self.members = list(members)
        self.progress = [Progress() for _ in members]
        self.best = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self.slices = [[nn.Parameter(tensor.detach()[k]) for tensor in tensors.values()] for k in range(len(self.members))]
        decay = self.members[0].config.weight_decay
        self.optimizer = torch.optim.AdamW([{"params": own} for own in self.slices], weight_decay=decay)

    @property
    def live(self) -> list[int]:
        """Members that still train."""
        return [k for k, progress in enumerate(self.progress) if not progress.finished]

    def step(self) -> list[Step]:
        """One optimiser step of every live member; validates those at the end of an epoch. Returns their rows of steps.csv."""
        begun, live = time.perf_counter(), self.live
        batches = {k: self.members[k].batch(self.progress[k].step) for k in live}
        losses = self._backward(batches)
        self._refuse_divergence("loss", losses)
        norms = self._update(live)
        self._refuse_divergence("gradient norm", norms)
        seconds = time.perf_counter() - begun
        speed = sum(len(example) for batch in batches.values() for example in batch) / seconds
        ending = [k for k in live if self.members[k].ends_epoch(self.progress[k].step)]
        validation = self._validate(ending)
        rows = [self._row(k, losses[k], validation.get(k), norms[k], speed) for k in live]
        for k in live:
            self._advance(k, k in ending, validation.get(k))
        return rows

    def restore_best(self) -> None:
        """Put each member's kept weights into the bank."""
        for name, tensor in self.tensors.items():
            for k, member in enumerate(self.members):
                if member.config.keep == "best" and self.progress[k].best_loss is not None:
                    tensor.detach()[k].copy_(self.best[name][k])

    def _refuse_divergence(self, what: str, figures: dict[int, float]) -> None:
        for k, figure in figures.items():
            if not math.isfinite(figure):
                raise UserError(
                    f"The training of '{self.members[k].name}' diverged: its {what} is {figure} at step {self.progress[k].step + 1}. "
                    "Start a new run with a lower learning_rate or lora_alpha."
                )

    def _backward(self, batches: dict[int, list[Encoded]]) -> dict[int, float]:
        """Gradients of the summed token means, and each member's mean loss."""
        examples = [(k, example) for k, batch in batches.items() for example in batch]
        share = torch.zeros(len(self.members), device=self.base.device)
        for k, batch in batches.items():
            share[k] = 1 / sum(len(example.answer) for example in batch)
        means = torch.zeros(len(self.members), device=self.base.device)
        budget = MICRO_BATCH_TOKENS[self.base.device.type]
        for indices in by_length([len(example) for _, example in examples], budget):
            owners = torch.tensor([examples[i][0] for i in indices], device=self.base.device)
            batch = collate([examples[i][1] for i in indices], self.base.tokenizer.pad_token_id, self.base.device)
            with self.bank.rows(owners):
                losses, rows = token_losses(self.base.model, batch)
                weighted = losses * share[owners[rows]]
                weighted.sum().backward()
            means.index_add_(0, owners[rows], weighted.detach())
        return {k: means[k].item() for k in batches}

    def _update(self, live: Sequence[int]) -> dict[int, float]:
        """Clip, set the learning rate and step, member by member; a finished member has no gradient, so AdamW leaves it alone."""
        norms = {}
        for k in live:
            member, own = self.members[k], self.slices[k]
            for parameter, tensor in zip(own, self.tensors.values(), strict=True):
                assert tensor.grad is not None
                parameter.grad = tensor.grad[k]
            norms[k] = nn.utils.clip_grad_norm_(own, member.config.max_grad_norm).item()
            self.optimizer.param_groups[k]["lr"] = member.learning_rate(self.progress[k].step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        for tensor in self.tensors.values():
            tensor.grad = None
        return norms

    def _validate(self, members: Sequence[int]) -> dict[int, float]:
        """Mean loss of an answer token over each member's validation rows."""
        pairs = [(k, example) for k in members for example in self.members[k].validation]
        owners = torch.tensor([k for k, _ in pairs], device=self.base.device)
        totals = row_losses(
            self.base,
            [example for _, example in pairs],
            mixing=lambda indices: self.bank.rows(owners[indices]),
            tokens_per_batch=MICRO_BATCH_TOKENS[self.base.device.type],
        )
        found = {}
        for k in members:
            if own := self.members[k].validation:
                tokens = sum(len(example.answer) for example in own)
                found[k] = sum(total for (owner, _), total in zip(pairs, totals, strict=True) if owner == k) / tokens
        return found

    def _advance(self, k: int, epoch_ended: bool, validation_loss: float | None) -> None:
        progress, config = self.progress[k], self.members[k].config
        progress.step += 1
        if validation_loss is not None:
            if progress.best_loss is None or validation_loss < progress.best_loss:
                progress.best_loss, progress.best_step, progress.stale_epochs = validation_loss, progress.step, 0
                for name, tensor in self.tensors.items():
                    self.best[name][k].copy_(tensor.detach()[k])
            elif epoch_ended:
                progress.stale_epochs += 1
        stopped_early = config.early_stop is not None and progress.stale_epochs >= config.early_stop
        progress.finished = stopped_early or progress.step >= self.members[k].total_steps

    def _row(self, k: int, loss: float, validation_loss: float | None, norm: float, speed: float) -> Step:
        member, step = self.members[k], self.progress[k].step
        epoch = (step + 1) / member.steps_per_epoch
        return Step(member.name, step + 1, epoch, loss, validation_loss, norm, member.learning_rate(step), speed)


def train(cohort: Cohort, record: Callable[[list[Step]], None], save: Callable[[], Any], save_seconds: float = 30) -> None:
    """Step until every member is finished; `record` gets each step's rows, `save` is called every `save_seconds`."""
    saved = time.monotonic()
    while cohort.live:
        record(cohort.step())
        if time.monotonic() - saved > save_seconds:
            save()
            saved = time.monotonic()
    cohort.restore_best()
