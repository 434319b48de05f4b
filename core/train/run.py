"""Train what a config asks for: cohorts as large as memory allows, one after another, and the tables of the run."""

import json
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
from core.registry import lookup
from core.results import Step, Token, ValidationRow
from core.runs import Workspace
from core.train import METHODS, checkpoint, curves
from core.train.cohort import Member, gather
from core.train.loop import Cohort, Work, train
from core.train.method import Method
from core.train.speed import matrix_peak, training_flops
from core.train.training_bank import TrainingBank

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SHOWN_MEMBERS = 8
"""Adapters whose first batch is written out."""


def run(config: TrainConfig, workspace: Workspace) -> dict[str, Any]:
    """Train what `config` asks for. Adapters appear under adapters/ when all of them are finished."""
    method: Method = lookup(METHODS, "tuning method", config.method).load()(config)
    prompter = Prompter(load_tokenizer(config.base_model), config.system_prompt, config.max_seq_length)
    members, notes = gather(config, read(config), prompter)
    _check_names(members, config, workspace)
    for note in notes:
        workspace.say(note)
    _write_first_batch(members[:SHOWN_MEMBERS], prompter.tokenizer, workspace.path / "first_batch.csv")
    base = load(
        config.base_model, quantization=method.quantization or config.quantization, precision=config.precision, device=config.device
    )
    training = Training(method, base, members, workspace)
    for cohort in training.passes():
        training.train(cohort)
    steps = results.read(workspace.path / "steps.csv", Step)
    curves.write_tensorboard(steps, workspace.path / "tensorboard")
    curves.write_png(steps, workspace.path / "loss_curve.png")
    made = [training.scratch(member) for member in members]
    published = [workspace.publish(folder, paths.adapters() / folder.name, config.replace) for folder in made]
    return _outputs(published, steps, workspace) | training.speed()


@dataclass
class Training:
    """One run: its members, dealt over passes, each pass a cohort."""

    method: Method
    base: BaseModel
    members: list[Member]
    workspace: Workspace
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
        if not file.exists():
            file.write_text(json.dumps(len(self.members)))
        each = json.loads(file.read_text())
        return [self.members[start : start + each] for start in range(0, len(self.members), each)]

    def train(self, members: Sequence[Member]) -> None:
        """Train one pass; its adapters are then in scratch."""
        if all((self.scratch(member) / "run.json").exists() for member in members):
            self.done_steps += sum(member.total_steps for member in members)
            return
        bank = TrainingBank(self.base.model, self.method, [member.name for member in members], self.config)
        cohort = Cohort(self.base, bank, members, self.workspace.say)
        self.workspace.say(_trainable_parameters(cohort))
        self._resume(cohort)
        train(cohort, lambda rows: self._record(cohort, rows), lambda: checkpoint.save(cohort, self.workspace.scratch))
        results.append(self.workspace.path / "validation_rows.csv", _validation_rows(cohort), ValidationRow)
        for k in range(len(members)):
            self._write(cohort, k)
        bank.detach()
        self.work += cohort.work
        self.done_steps += sum(member.total_steps for member in members)
        (self.workspace.scratch / checkpoint.FILE).unlink(missing_ok=True)

    def scratch(self, member: Member) -> Path:
        """Where a finished member waits to be published."""
        return self.workspace.scratch / "adapters" / member.name

    def speed(self) -> dict[str, float]:
        """Tokens per second of all optimiser steps, and the share of this machine's matrix-product peak that they reached."""
        if not self.work.seconds:
            return {}
        peak = matrix_peak(self.base.device, self.base.dtype)
        flops = training_flops(self.base.model, self.work.tokens, self.work.answer_tokens, full=self.config.method == "full")
        found = {"tokens_per_second": self.work.tokens / self.work.seconds, "matrix_peak_share": flops / self.work.seconds / peak}
        self.workspace.say(
            f"Speed: {found['tokens_per_second']:,.0f} tokens/s, {found['matrix_peak_share']:.0%} of this machine's matrix-product peak "
            f"({peak / 1e9:,.0f} GFLOP/s in {str(self.base.dtype).removeprefix('torch.')}), counted {6 if self.config.method == 'full' else 4} "
            "FLOP per weight and token, the output layer on answer tokens only."
        )
        return found

    def _resume(self, cohort: Cohort) -> None:
        """Go on from the checkpoint, if there is one; steps.csv is cut back to it."""
        file = self.workspace.path / "steps.csv"
        resumed = checkpoint.load(cohort, self.workspace.scratch)
        if resumed:
            self.workspace.say(f"Resumed after step {max(progress.step for progress in cohort.progress)}.")
        elif not self.done_steps:
            file.unlink(missing_ok=True)
            (self.workspace.path / "validation_rows.csv").unlink(missing_ok=True)
        if file.exists():
            _keep_until(file, {member.name: progress.step for member, progress in zip(cohort.members, cohort.progress, strict=True)})

    def _record(self, cohort: Cohort, rows: list[Step]) -> None:
        results.append(self.workspace.path / "steps.csv", rows, Step)
        if time.monotonic() - self.told > 0.5 or not cohort.live:
            self.told = time.monotonic()
            own = sum(m.total_steps if p.finished else p.step for m, p in zip(cohort.members, cohort.progress, strict=True))
            mean = sum(row.loss for row in rows) / len(rows)
            total = sum(member.total_steps for member in self.members)
            self.workspace.progress(self.done_steps + own, total, "steps", f"loss {mean:.3f}, {rows[0].tokens_per_second:.0f} tokens/s")

    def _write(self, cohort: Cohort, k: int) -> None:
        """One adapter as a PEFT folder in scratch."""
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
        self.method.write(cohort.bank.sites, k, about, self.scratch(member), DTYPES[member.config.dtype])


def _keep_until(file: Path, steps: dict[str, int]) -> None:
    """Cut a steps.csv that a killed run left back to the checkpoint, for the adapters in `steps`."""
    table = results.read(file, Step).dropna(subset="tokens_per_second")  # a row that a full disk cut short lacks its last cell
    kept = table[table["step"] <= table["adapter"].map(steps).fillna(float("inf"))]
    rows = [Step(**{key: None if value != value else value for key, value in row.items()}) for row in kept.to_dict("records")]
    results.write(file, rows, Step)


def _check_names(members: list[Member], config: TrainConfig, workspace: Workspace) -> None:
    taken = [
        member.name
        for member in members
        if (paths.adapters() / member.name).exists() and not workspace.made(paths.adapters() / member.name)
    ]
    merged = [member.name for member in members if (paths.merged_adapters() / member.name).exists()]
    if merged:
        raise UserError(f"merged_adapters/ has {', '.join(merged)} already, and names must tell models apart. Choose another name.")
    if taken and not config.replace:
        raise UserError(f"adapters/ has {', '.join(taken)} already. Choose another name, or say replace=true to train it anew.")


def _trainable_parameters(cohort: Cohort) -> str:
    """The line that PEFT's print_trainable_parameters prints, for one adapter and for all."""
    each = cohort.bank.trained
    total = cohort.base.model.num_parameters() + each
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
        "adapters": {folder.name: str(folder.relative_to(home)) for folder in published},
        "steps": str((workspace.path / "steps.csv").relative_to(home)),
        "loss_curve": str((workspace.path / "loss_curve.png").relative_to(home)),
        "tensorboard": str((workspace.path / "tensorboard").relative_to(home)),
        "validation_loss": {folder.name: None if best[folder.name] != best[folder.name] else best[folder.name] for folder in published},
    }
