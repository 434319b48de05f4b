"""The one training loop: a cohort of adapters on one frozen base; a single adapter is a cohort of one.

Each optimiser step takes the next rows of every live member, packs all of them into micro-batches, and adds up

    sum over members k of  (sum of answer-token losses of k) / (answer tokens of k in this step)

so each member's gradient is that of its own token mean. Clipping, learning rate, steps and stopping are per member.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from core.data.prompt import Encoded
from core.errors import UserError
from core.models.load import BaseModel
from core.results import Step
from core.train.cohort import Member
from core.train.distributed import ALONE, Team
from core.train.passes import Passes
from core.train.token_store import lengths
from core.train.trained import Trained

LOSS_SCALE = 2.0**16
"""What fp16 losses are multiplied by at first, so that small gradients don't vanish (Micikevicius et al. 2018, arXiv:1710.03740)."""

SAVE_PAUSE = 20
"""A checkpoint is written after at least this many times the seconds that the one before took."""

VALIDATED_TOGETHER = 20_000
"""Validation rows in memory at a time."""

SCALE_GROWS_AFTER = 2000
"""Steps without overflow after which a loss scale doubles."""


@dataclass
class Progress:
    """How far one member is."""

    step: int = 0
    finished: bool = False
    best_loss: float | None = None
    best_step: int = 0
    stale_epochs: int = 0
    loss_scale: float = 1.0
    clean_steps: int = 0
    """Steps since the loss scale changed."""


@dataclass(frozen=True)
class Work:
    """What optimiser steps took, validation not counted."""

    tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Both together."""
        return Work(self.tokens + other.tokens, self.answer_tokens + other.answer_tokens, self.seconds + other.seconds)


class Cohort:
    """Adapters in training: the bank, AdamW, and each member's progress."""

    def __init__(
        self, base: BaseModel, bank: Trained, members: Sequence[Member], say: Callable[[str], Any] = print, team: Team = ALONE
    ) -> None:
        self.base = base
        self.bank = bank
        self.team = team
        self.members = list(members)
        self.passes = Passes(base, bank, members[0].config, say, team)
        self.work = Work()
        start = LOSS_SCALE if base.dtype == torch.float16 else 1.0
        self.progress = [Progress(loss_scale=start) for _ in members]
        self.rows = [bank.rows(k) for k in range(len(self.members))]
        groups = [
            {"params": [parameter for parameter, each in own if each == factor], "member": k, "factor": factor}
            for k, own in enumerate(self.rows)
            for factor in dict.fromkeys(each for _, each in own)
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=members[0].config.weight_decay, fused=True)

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
        examples = [example for batch in batches.values() for example in batch]
        done = Work(sum(map(len, examples)), sum(len(example.answer) for example in examples), time.perf_counter() - begun)
        self.work += done
        speed = done.tokens / done.seconds
        ending = [k for k in live if self.members[k].ends_epoch(self.progress[k].step)]
        validation = self._validate(ending)
        rows = [self._row(k, losses[k], validation.get(k), norms[k], speed) for k in live]
        for k in live:
            self._advance(k, k in ending, validation.get(k))
        return rows

    def restore_best(self) -> None:
        """Put each member's kept weights into the bank."""
        for k, member in enumerate(self.members):
            if member.config.keep == "best" and self.progress[k].best_loss is not None:
                self.bank.restore(k)

    def validation_losses(self, members: Iterable[int]) -> dict[int, list[float]]:
        """Total loss of each validation row of the members, in nats."""
        every = ((k, example) for k in members for example in self.members[k].validation)
        by_member: dict[int, list[float]] = {}
        while pairs := list(islice(every, VALIDATED_TOGETHER)):
            for (k, _), loss in zip(pairs, self.passes.losses(pairs), strict=True):
                by_member.setdefault(k, []).append(loss)
        return by_member

    def finish(self, k: int) -> None:
        """Take a member out of the optimiser: under AdamW a zero gradient would still move it."""
        self.progress[k].finished = True
        for parameter, _ in self.rows[k]:
            parameter.grad = None

    def _backward(self, batches: dict[int, list[Encoded]]) -> dict[int, float]:
        """Gradients of the summed token means, times each member's loss scale. Returns each member's mean loss."""
        share = torch.zeros(len(self.members), device=self.base.device)
        for k, batch in batches.items():
            share[k] = 1 / sum(len(example.answer) for example in batch)
        scale = torch.tensor([progress.loss_scale for progress in self.progress], device=self.base.device)
        rows = [(k, example) for k, batch in batches.items() for example in batch]
        seeds = [self._dropout_seed(k, place) for k, batch in batches.items() for place in range(len(batch))]
        means = self.passes.gradients(rows, share, scale, seeds).tolist()
        return {k: means[k] for k in batches}

    def _dropout_seed(self, k: int, place: int) -> int:
        """Of the row at `place` in the member's step: it does not depend on who else trains."""
        return hash((self.members[k].config.seed, self.progress[k].step, place))

    def _update(self, live: Sequence[int]) -> dict[int, float]:
        """Clip, set the learning rate and step, member by member."""
        scales = [self.progress[k].loss_scale for k in live]
        norms = dict(zip(live, self.bank.clip(live, self.members[live[0]].config.max_grad_norm, scales), strict=True))
        overflowed = [k for k in live if self._scales(k, norms[k])]
        self._refuse_divergence("gradient norm", {k: norm for k, norm in norms.items() if k not in overflowed})
        aside = [(parameter, parameter.grad) for k in overflowed for parameter, _ in self.rows[k]]
        for parameter, _ in aside:
            parameter.grad = None
        rates = {k: self.members[k].learning_rate(self.progress[k].step) for k in live}
        for group in self.optimizer.param_groups:
            group["lr"] = rates.get(group["member"], 0.0) * group["factor"]
        self.optimizer.step()
        for parameter, gradient in aside:
            parameter.grad = gradient
        for k in live:
            self.bank.stepped(k, self.progress[k].step + 1)
        return norms

    def _scales(self, k: int, norm: float) -> bool:
        """Keep the loss scale of fp16; True when the gradients overflowed, so that this step of the member is left out."""
        progress = self.progress[k]
        if self.base.dtype != torch.float16:
            return False
        overflowed = not math.isfinite(norm) and progress.loss_scale > 1
        progress.clean_steps = 0 if overflowed else progress.clean_steps + 1
        if overflowed:
            progress.loss_scale /= 2
        elif progress.clean_steps % SCALE_GROWS_AFTER == 0:
            progress.loss_scale *= 2
        return overflowed

    def _refuse_divergence(self, what: str, figures: dict[int, float]) -> None:
        for k, figure in figures.items():
            if not math.isfinite(figure):
                raise UserError(
                    f"The training of '{self.members[k].name}' diverged: its {what} is {figure} at step {self.progress[k].step + 1}. "
                    "Start a new run with a lower learning_rate or lora_alpha."
                )

    def _validate(self, members: Sequence[int]) -> dict[int, float]:
        """Mean loss of an answer token over each member's validation rows."""
        losses = self.validation_losses(members)
        return {k: sum(own) / int(lengths(self.members[k].validation)[:, 1].sum()) for k, own in losses.items()}

    def _advance(self, k: int, epoch_ended: bool, validation_loss: float | None) -> None:
        progress, config = self.progress[k], self.members[k].config
        progress.step += 1
        if validation_loss is not None:
            if progress.best_loss is None or validation_loss < progress.best_loss:
                progress.best_loss, progress.best_step, progress.stale_epochs = validation_loss, progress.step, 0
                self.bank.keep(k)
            elif epoch_ended:
                progress.stale_epochs += 1
        stopped_early = config.early_stop is not None and progress.stale_epochs >= config.early_stop
        if stopped_early or progress.step >= self.members[k].total_steps:
            self.finish(k)

    def _row(self, k: int, loss: float, validation_loss: float | None, norm: float, speed: float) -> Step:
        member, step = self.members[k], self.progress[k].step
        epoch = (step + 1) / member.steps_per_epoch
        return Step(member.name, step + 1, epoch, loss, validation_loss, norm, member.learning_rate(step), speed)


def train(cohort: Cohort, record: Callable[[list[Step]], None], save: Callable[[], Any], save_seconds: float) -> None:
    """Step until every member is finished; `record` gets each step's rows, `save` is called every `save_seconds`."""
    saved, pause = time.monotonic(), save_seconds
    while cohort.live:
        record(cohort.step())
        if cohort.team.agree(time.monotonic() - saved > pause):
            begun = time.monotonic()
            save()
            saved = time.monotonic()
            pause = max(save_seconds, (saved - begun) * SAVE_PAUSE)
    cohort.restore_best()
