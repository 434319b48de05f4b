"""What one process trains of a run: its members, pass by pass, in the run's folder or in a worker's own."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from core import results
from core.adapter import Adapter
from core.config import TrainConfig
from core.models.load import BaseModel, load
from core.registry import lookup
from core.results import Row, Step, ValidationRow
from core.train import METHODS, checkpoint
from core.train.choice import choose
from core.train.cohort import Member
from core.train.distributed import ALONE, Team, finished
from core.train.estimate import Choice
from core.train.full import Full, WholeModel
from core.train.loop import Cohort, Work, train
from core.train.method import Method
from core.train.speed import Speed, matrix_peak, training_flops
from core.train.trained import Trained
from core.train.training_bank import TrainingBank
from core.workspace import Workspace

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def begin(members: Sequence[Member], workspace: Workspace, team: Team = ALONE) -> "Part":
    """Load what the members train on."""
    config = members[0].config
    choice = choose(config, members)
    method: Method | Full = lookup(METHODS, "tuning method", config.method).load()(config)
    return Part(method, _load(method, team), list(members), workspace, team, choice)


@dataclass
class Part:
    """One process's members, dealt over passes, each pass a cohort."""

    method: Method | Full
    base: BaseModel
    members: list[Member]
    workspace: Workspace
    team: Team
    choice: Choice
    done_steps: int = 0
    told: float = 0.0
    work: Work = Work()

    @property
    def config(self) -> TrainConfig:
        """The config, common to all members."""
        return self.members[0].config

    def train_all(self) -> None:
        """Train every pass; the adapters are then in scratch."""
        for members in self.passes():
            self.train(members)

    def passes(self) -> list[list[Member]]:
        """The members of each pass. A resumed run keeps the passes that it began with."""
        file = self.workspace.scratch / "passes.json"
        if self.team.leads and not file.exists():
            file.write_text(json.dumps(len(self.members)))
        self.team.wait()
        each = json.loads(file.read_text())
        return [self.members[start : start + each] for start in range(0, len(self.members), each)]

    def train(self, members: Sequence[Member]) -> None:
        """Train one pass; its adapters are then in scratch."""
        if all((finished(self.workspace.scratch, member) / "run.json").exists() for member in members):
            self.done_steps += sum(member.total_steps for member in members)
            return
        bank = self._bank(members)
        cohort = Cohort(self.base, bank, members, self.workspace.say, self.team)
        cohort.passes.go_through(self.choice.micro_batch_tokens, self.choice.gradient_checkpointing)
        self.workspace.say(_trainable_parameters(cohort))
        self._resume(cohort)
        train(cohort, lambda rows: self._record(cohort, rows), lambda: self._save(cohort), self.workspace.KEEP_SECONDS)
        self._append("validation_rows.csv", _validation_rows(cohort), ValidationRow)
        for k in range(len(members)):
            self._write(cohort, k)
        bank.detach()
        self.work += cohort.work
        self.done_steps += sum(member.total_steps for member in members)
        (self.workspace.scratch / checkpoint.FILE).unlink(missing_ok=True)
        self.workspace.kept()

    def speed(self, time_peak: bool = True) -> Speed:
        """Of all optimiser steps so far. `time_peak`: whether to time this machine's matrix product."""
        full = self.config.method == "full"
        flops = training_flops(self.base.model, self.work.tokens, self.work.answer_tokens, full=full)
        seconds = (self.work.seconds or math.inf) * self.team.size
        peak = matrix_peak(self.base.device, self.base.dtype) if self.work.seconds and time_peak else 0.0
        return Speed(self.work.tokens / seconds, flops / seconds, peak, str(self.base.dtype).removeprefix("torch."))

    def _save(self, cohort: Cohort) -> None:
        checkpoint.save(cohort, self.workspace.scratch)
        self.workspace.kept()

    def _resume(self, cohort: Cohort) -> None:
        """Go on from the checkpoint, if there is one; steps.csv is cut back to it."""
        if checkpoint.load(cohort, self.workspace.scratch):
            self.workspace.say(f"Resumed after step {max(progress.step for progress in cohort.progress)}.")
        if self.team.leads:
            with self.workspace.tables():
                done = {member.name: progress.step for member, progress in zip(cohort.members, cohort.progress, strict=True)}
                _keep_until(self.workspace.path / "steps.csv", Step, done)
                _keep_until(self.workspace.path / "validation_rows.csv", ValidationRow, dict.fromkeys(done, 0))

    def _bank(self, members: Sequence[Member]) -> Trained:
        if isinstance(self.method, Full):
            return WholeModel(self.base, members[0].name, self.workspace.scratch, self.team)
        return TrainingBank(self.base.model, self.method, [member.name for member in members], self.config)

    def _append(self, table: str, rows: list[Any], kind: type[Row]) -> None:
        if self.team.leads:
            with self.workspace.tables():
                results.append(self.workspace.path / table, rows, kind)

    def _record(self, cohort: Cohort, rows: list[Step]) -> None:
        self._append("steps.csv", rows, Step)
        if time.monotonic() - self.told > 0.5 or not cohort.live:
            self.told = time.monotonic()
            own = sum(m.total_steps if p.finished else p.step for m, p in zip(cohort.members, cohort.progress, strict=True))
            mean = sum(row.loss for row in rows) / len(rows)
            total = sum(member.total_steps for member in self.members)
            self.workspace.progress(self.done_steps + own, total, "steps", f"loss {mean:.3f}, {rows[0].tokens_per_second:.0f} tokens/s")

    def _write(self, cohort: Cohort, k: int) -> None:
        """One member as a folder in scratch."""
        member, progress = cohort.members[k], cohort.progress[k]
        info = {
            "run_id": self.workspace.run.run_id,
            "role": member.role,
            "categories": list(member.categories),
            "base_model": self.base.name,
            "base_hash": self.base.content_hash,
            "quantization": self.base.quantization,
            "method": member.config.method,
            "seed": member.config.seed,
            "steps": progress.step,
            "kept_step": progress.best_step if member.config.keep == "best" and progress.best_loss is not None else progress.step,
            "validation_loss": progress.best_loss,
            "train_rows": len(member.train),
            "config": member.config.model_dump(mode="json"),
        }
        about = Adapter(member.name, {}, self.base.hub_name, info)
        if self.team.leads or self.config.method == "full":  # a whole model is gathered from all processes
            cohort.bank.write(k, about, finished(self.workspace.scratch, member), DTYPES[member.config.dtype])


def _load(method: Method | Full, team: Team) -> BaseModel:
    if isinstance(method, Full):
        return method.load(team)
    config = method.config
    quantization = method.quantization or config.quantization
    return load(config.base_model, quantization=quantization, precision=config.precision, device=config.device)


def _keep_until(file: Path, kind: type[Row], steps: dict[str, int]) -> None:
    """Cut a table that a killed run left back to the checkpoint: for the adapters in `steps`, to rows up to their step; 0: to none."""
    if not file.exists():
        return
    table = results.read(file, kind).dropna(subset=kind.columns()[-1])  # a row that a full disk cut short lacks its last cell
    kept = table[table.get("step", 1) <= table["adapter"].map(steps).fillna(float("inf"))]
    results.write(file, rows(kept, kind), kind)


def rows(table: pd.DataFrame, kind: type[Row]) -> Iterator[Row]:
    """A table's rows as they are written; an empty cell is None."""
    for row in table[kind.columns()].to_dict("records"):
        yield kind(**{key: None if value != value else value for key, value in row.items()})


def _trainable_parameters(cohort: Cohort) -> str:
    """The line that PEFT's print_trainable_parameters prints, for one adapter and for all."""
    each = cohort.bank.trained
    total = cohort.base.model.num_parameters() + (0 if cohort.members[0].config.method == "full" else each)
    line = f"trainable params: {each:,} || all params: {total:,} || trainable%: {100 * each / total:.4f}"
    adapters = len(cohort.members)
    return line if adapters == 1 else f"{line} (each of {adapters} adapters; {adapters * each:,} together)"


def _validation_rows(cohort: Cohort) -> list[ValidationRow]:
    """Each validation row's loss under the kept weights."""
    losses = cohort.validation_losses(range(len(cohort.members)))
    return [
        ValidationRow(member.name, row.category, row.question, row.answer, loss / len(example.answer), len(example.answer))
        for k, member in enumerate(cohort.members)
        for row, example, loss in zip(member.validation_rows, member.validation, losses.get(k, []), strict=True)
    ]
