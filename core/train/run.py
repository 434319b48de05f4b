"""Train what a config asks for: cohorts as large as memory allows, one after another, and the tables of the run."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core import paths, results
from core.adapter import Adapter
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.errors import UserError
from core.models.load import BaseModel, load, load_tokenizer
from core.models.memory import peak_mb
from core.registry import lookup
from core.results import Row, Step, Token, ValidationRow
from core.runs import Workspace
from core.train import METHODS, checkpoint, curves, distributed
from core.train.choice import choose
from core.train.cohort import Member, gather
from core.train.distributed import Hands, Share, Team, finished
from core.train.estimate import Choice
from core.train.full import Full, WholeModel
from core.train.loop import Cohort, Work, train
from core.train.method import Method
from core.train.speed import matrix_peak, training_flops
from core.train.trained import Trained
from core.train.training_bank import TrainingBank

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SHOWN_MEMBERS = 8
"""Adapters whose first batch is written out."""


def run(config: TrainConfig, workspace: Workspace) -> dict[str, Any]:
    """Train what `config` asks for. Adapters appear under adapters/, whole models under models/, when all of them are finished.

    Of several processes each comes here, and the first one returns the outputs.
    """
    everyone = distributed.everyone()
    method: Method | Full = lookup(METHODS, "tuning method", config.method).load()(config)
    prompter = Prompter(load_tokenizer(config.base_model), config.system_prompt, config.max_seq_length)
    members, notes = gather(config, read(config), prompter)
    _check_names(members, config, workspace)
    if everyone.leads:
        for note in [*prompter.notes(), *notes]:
            workspace.say(note)
        _write_first_batch(members[:SHOWN_MEMBERS], prompter.tokenizer, workspace.path / "first_batch.csv")
    hands = Hands(workspace, members, everyone.size)
    team = hands.team(everyone)
    mine = hands.members[everyone.rank]
    choice = choose(config, mine)
    training = Training(method, _load(method, team), mine, hands.workspace(everyone.rank), team, choice)
    for cohort in training.passes():
        training.train(cohort)
    speed = training.speed(everyone)
    if not everyone.leads:
        return {}
    steps = results.read(workspace.path / "steps.csv", Step)
    curves.write_tensorboard(steps, workspace.path / "tensorboard")
    curves.write_png(steps, workspace.path / "loss_curve.png")
    made = hands.finished()
    published = [workspace.publish(made[member.name], _shelf(config) / member.name, config.replace) for member in members]
    return _outputs(published, steps, workspace) | speed | {"peak_memory_mb": round(peak_mb(training.base.device), 1)}


@dataclass
class Training:
    """One run: its members, dealt over passes, each pass a cohort."""

    method: Method | Full
    base: BaseModel
    members: list[Member]
    workspace: Share
    team: Team
    choice: Choice
    done_steps: int = 0
    told: float = 0.0
    work: Work = Work()

    @property
    def config(self) -> TrainConfig:
        """The config, common to all members."""
        return self.members[0].config

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
        if all((finished(self.workspace, member) / "run.json").exists() for member in members):
            self.done_steps += sum(member.total_steps for member in members)
            return
        bank = self._bank(members)
        cohort = Cohort(self.base, bank, members, self.workspace.say, self.team)
        cohort.passes.go_through(self.choice.micro_batch_tokens, self.choice.gradient_checkpointing)
        self.workspace.say(_trainable_parameters(cohort))
        self._resume(cohort)
        train(cohort, lambda rows: self._record(cohort, rows), lambda: checkpoint.save(cohort, self.workspace.scratch))
        self._append("validation_rows.csv", _validation_rows(cohort), ValidationRow)
        for k in range(len(members)):
            self._write(cohort, k)
        bank.detach()
        self.work += cohort.work
        self.done_steps += sum(member.total_steps for member in members)
        (self.workspace.scratch / checkpoint.FILE).unlink(missing_ok=True)

    def speed(self, everyone: Team) -> dict[str, float]:
        """Tokens per second of all optimiser steps, and the share of this machine's matrix-product peak that they reached.

        All processes must come here; the first one tells.
        """
        full = self.config.method == "full"
        flops = training_flops(self.base.model, self.work.tokens, self.work.answer_tokens, full=full)
        rates = torch.tensor([self.work.tokens, flops], dtype=torch.float64) / (self.work.seconds or math.inf) / self.team.size
        everyone.add_up(rates)
        tokens_per_second, flops_per_second = rates.tolist()
        if not everyone.leads or not tokens_per_second:
            return {}
        peak = matrix_peak(self.base.device, self.base.dtype) * everyone.size
        found = {"tokens_per_second": tokens_per_second, "matrix_peak_share": flops_per_second / peak}
        self.workspace.say(
            f"Speed: {found['tokens_per_second']:,.0f} tokens/s, {found['matrix_peak_share']:.0%} of this machine's matrix-product peak "
            f"({peak / 1e9:,.0f} GFLOP/s in {str(self.base.dtype).removeprefix('torch.')}), counted {6 if full else 4} FLOP per weight and "
            "token, the output layer on answer tokens only."
        )
        return found

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
            cohort.bank.write(k, about, finished(self.workspace, member), DTYPES[member.config.dtype])


def _load(method: Method | Full, team: Team) -> BaseModel:
    if isinstance(method, Full):
        return method.load(team)
    config = method.config
    quantization = method.quantization or config.quantization
    return load(config.base_model, quantization=quantization, precision=config.precision, device=config.device)


def _shelf(config: TrainConfig) -> Path:
    """The folder that finished members are published in."""
    return paths.models() if config.method == "full" else paths.adapters()


def _keep_until(file: Path, kind: type[Row], steps: dict[str, int]) -> None:
    """Cut a table that a killed run left back to the checkpoint: for the adapters in `steps`, to rows up to their step; 0: to none."""
    if not file.exists():
        return
    table = results.read(file, kind).dropna(subset=kind.columns()[-1])  # a row that a full disk cut short lacks its last cell
    kept = table[table.get("step", 1) <= table["adapter"].map(steps).fillna(float("inf"))]
    rows = [kind(**{key: None if value != value else value for key, value in row.items()}) for row in kept.to_dict("records")]
    results.write(file, rows, kind)


def _check_names(members: list[Member], config: TrainConfig, workspace: Workspace) -> None:
    for shelf in (paths.merged_adapters(), paths.models(), paths.adapters()):
        own = shelf == _shelf(config)
        found = [shelf / member.name for member in members if (shelf / member.name).exists()]
        taken = ", ".join(folder.name for folder in found if not (own and workspace.made(folder)))
        if taken and not own:
            raise UserError(f"{shelf.name}/ has {taken} already, and names must tell models apart. Choose another name.")
        if taken and not config.replace:
            raise UserError(f"{shelf.name}/ has {taken} already. Choose another name, or say replace=true to train it anew.")


def _trainable_parameters(cohort: Cohort) -> str:
    """The line that PEFT's print_trainable_parameters prints, for one adapter and for all."""
    each = cohort.bank.trained
    total = cohort.base.model.num_parameters() + (0 if cohort.members[0].config.method == "full" else each)
    line = f"trainable params: {each:,} || all params: {total:,} || trainable%: {100 * each / total:.4f}"
    adapters = len(cohort.members)
    return line if adapters == 1 else f"{line} (each of {adapters} adapters; {adapters * each:,} together)"


def _write_first_batch(members: Sequence[Member], tokenizer: Any, file: Path) -> None:
    """The tokens of each member's first optimiser step."""
    rows = []
    for member in members:
        for place, example in enumerate(member.batch(0)):
            texts = tokenizer.batch_decode([[token] for token in example.prompt + example.answer])
            answer = len(example.prompt)
            rows += [Token(member.name, place, position, text, int(position >= answer)) for position, text in enumerate(texts)]
    results.write(file, rows, Token)


def _validation_rows(cohort: Cohort) -> list[ValidationRow]:
    """Each validation row's loss under the kept weights."""
    losses = cohort.validation_losses(range(len(cohort.members)))
    return [
        ValidationRow(member.name, row.category, row.question, row.answer, loss / len(example.answer), len(example.answer))
        for k, member in enumerate(cohort.members)
        for row, example, loss in zip(member.validation_rows, member.validation, losses.get(k, []), strict=True)
    ]


def _outputs(published: list[Path], steps: Any, workspace: Workspace) -> dict[str, Any]:
    home = paths.home()
    best = steps.groupby("adapter")["validation_loss"].min()
    return {
        published[0].parent.name: {folder.name: str(folder.relative_to(home)) for folder in published},
        "steps": str((workspace.path / "steps.csv").relative_to(home)),
        "loss_curve": str((workspace.path / "loss_curve.png").relative_to(home)),
        "tensorboard": str((workspace.path / "tensorboard").relative_to(home)),
        "validation_loss": {folder.name: None if best[folder.name] != best[folder.name] else best[folder.name] for folder in published},
    }
