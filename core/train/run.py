"""The verb `train`: from a config to published adapters, steps.csv, TensorBoard events and loss_curve.png."""

import time
from pathlib import Path
from typing import Any

import torch

from core import adapter as peft_folder
from core import paths, results
from core.adapter import Adapter
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.errors import UserError
from core.models.load import BaseModel, load, load_tokenizer
from core.registry import lookup
from core.results import Step
from core.runs import Workspace
from core.train import METHODS, checkpoint, curves
from core.train.cohort import Member, gather
from core.train.loop import Cohort, train
from core.train.lora import Lora

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def run(config: TrainConfig, workspace: Workspace) -> dict[str, Any]:
    """Train what `config` asks for. Adapters appear under adapters/ when all of them are finished."""
    method: Lora = lookup(METHODS, "tuning method", config.method).load()()
    prompter = Prompter(load_tokenizer(config.base_model), config.system_prompt, config.max_seq_length)
    members, notes = gather(config, read(config), prompter)
    _check_names(members, config, workspace)
    for note in notes:
        workspace.say(note)
    quantization = method.quantization or config.quantization
    base = load(config.base_model, quantization=quantization, precision=config.precision, device=config.device)
    bank = method.bank(base.model, [member.name for member in members], config)
    cohort = Cohort(base, bank, method.trainable(bank), members)
    workspace.say(_trainable_parameters(cohort))
    if config.gradient_checkpointing:
        base.model.train()
        base.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    _train(cohort, workspace)
    made = [_write(cohort, k, method, base, workspace) for k in range(len(members))]
    steps = results.read(workspace.path / "steps.csv", Step)
    curves.write_tensorboard(steps, workspace.path / "tensorboard")
    curves.write_png(steps, workspace.path / "loss_curve.png")
    published = [workspace.publish(folder, paths.adapters() / folder.name, config.replace) for folder in made]
    return _outputs(cohort, published, workspace)


def _train(cohort: Cohort, workspace: Workspace) -> None:
    """Run the loop, or what is left of it; steps.csv grows with it."""
    file, totals = workspace.path / "steps.csv", sum(member.total_steps for member in cohort.members)
    if checkpoint.load(cohort, workspace.scratch):
        workspace.say(f"Resumed after step {max(progress.step for progress in cohort.progress)}.")
        _keep_until(file, {member.name: progress.step for member, progress in zip(cohort.members, cohort.progress, strict=True)})
    else:
        file.unlink(missing_ok=True)
    told = 0.0

    def record(rows: list[Step]) -> None:
        nonlocal told
        results.append(file, rows, Step)
        if time.monotonic() - told > 0.5 or not cohort.live:
            told = time.monotonic()
            done = sum(m.total_steps if p.finished else p.step for m, p in zip(cohort.members, cohort.progress, strict=True))
            mean = sum(row.loss for row in rows) / len(rows)
            workspace.progress(done, totals, "steps", f"loss {mean:.3f}, {rows[0].tokens_per_second:.0f} tokens/s")

    train(cohort, record, lambda: checkpoint.save(cohort, workspace.scratch))


def _keep_until(file: Path, steps: dict[str, int]) -> None:
    """Cut a steps.csv that a killed run left back to the checkpoint."""
    table = results.read(file, Step).dropna(subset="tokens_per_second")  # a row that a full disk cut short lacks its last cell
    kept = table[table["step"] <= table["adapter"].map(steps)]
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
    each = sum(parameter.numel() for parameter in cohort.slices[0])
    total = cohort.base.model.num_parameters() + each
    line = f"trainable params: {each:,} || all params: {total:,} || trainable%: {100 * each / total:.4f}"
    adapters = len(cohort.members)
    return line if adapters == 1 else f"{line} (each of {adapters} adapters; {adapters * each:,} together)"


def _write(cohort: Cohort, k: int, method: Lora, base: BaseModel, workspace: Workspace) -> Path:
    """One adapter as a PEFT folder in scratch."""
    member, progress = cohort.members[k], cohort.progress[k]
    info = {
        "run_id": workspace.run.run_id,
        "role": member.role,
        "categories": list(member.categories),
        "base_model": base.name,
        "base_hash": base.content_hash,
        "quantization": base.quantization,
        "method": member.config.method,
        "seed": member.config.seed,
        "steps": progress.step,
        "kept_step": progress.best_step if member.config.keep == "best" and progress.best_loss is not None else progress.step,
        "validation_loss": progress.best_loss,
        "train_rows": len(member.train),
        "config": member.config.model_dump(mode="json"),
    }
    made = Adapter(member.name, method.export(cohort.bank, k), base.hub_name, info)
    return peft_folder.write(made, workspace.scratch / "adapters" / member.name, DTYPES[member.config.dtype])


def _outputs(cohort: Cohort, published: list[Path], workspace: Workspace) -> dict[str, Any]:
    home = paths.home()
    return {
        "adapters": {folder.name: str(folder.relative_to(home)) for folder in published},
        "steps": str((workspace.path / "steps.csv").relative_to(home)),
        "loss_curve": str((workspace.path / "loss_curve.png").relative_to(home)),
        "tensorboard": str((workspace.path / "tensorboard").relative_to(home)),
        "validation_loss": {m.name: p.best_loss for m, p in zip(cohort.members, cohort.progress, strict=True)},
    }
