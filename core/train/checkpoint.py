"""Checkpoints: everything a killed run needs to go on to the same adapters. Safetensors and JSON, never pickle."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.errors import UserError
from core.train.distributed import laid_out_as, whole
from core.train.loop import Cohort, Progress

FILE = "checkpoint.safetensors"


def save(cohort: Cohort, folder: Path) -> None:
    """Write the cohort's state; the file is replaced whole, so a kill leaves the one before. All of a team must come here."""
    tensors = {name: _held(tensor, cohort) for name, tensor in cohort.bank.state().items()}
    for place, parameter in _places(cohort):
        for key, value in cohort.optimizer.state[parameter].items():
            tensors[f"adamw/{place}/{key}"] = _held(value, cohort)
    if not cohort.team.leads:
        return
    about = {
        "members": json.dumps([member.name for member in cohort.members]),
        "progress": json.dumps([asdict(p) for p in cohort.progress]),
    }
    temporary = folder / f".{FILE}"
    save_file(tensors, temporary, metadata=about)
    os.replace(temporary, folder / FILE)


def load(cohort: Cohort, folder: Path) -> bool:
    """Put a saved state into a fresh cohort; False when there is none."""
    file = folder / FILE
    if not file.exists():
        return False
    with safe_open(file, "pt", device=str(cohort.base.device)) as saved:
        about = saved.metadata()
        if json.loads(about["members"]) != [member.name for member in cohort.members]:
            raise UserError("The checkpoint was made for other adapters than this run trains; the data has changed. Start a new run.")
        with torch.no_grad():
            for name, tensor in cohort.bank.state().items():
                tensor.copy_(laid_out_as(saved.get_tensor(name), tensor))
        keys = set(saved.keys())
        for place, parameter in _places(cohort):
            found = {key: f"adamw/{place}/{key}" for key in ("step", "exp_avg", "exp_avg_sq")}
            if found["step"] in keys:
                state = {key: laid_out_as(saved.get_tensor(name), parameter) for key, name in found.items()}
                cohort.optimizer.state[parameter] = state
    cohort.progress = [Progress(**each) for each in json.loads(about["progress"])]
    for k, progress in enumerate(cohort.progress):
        if progress.finished:
            cohort.finish(k)
    return True


def _held(tensor: Tensor, cohort: Cohort) -> Tensor:
    """The whole tensor, on the CPU of the process that writes; the others only help to gather it."""
    gathered = whole(tensor.detach())
    return gathered.contiguous().cpu() if cohort.team.leads else torch.empty(0)


def _places(cohort: Cohort) -> list[tuple[str, torch.nn.Parameter]]:
    """The optimiser's parameters, each with a name."""
    return [(f"{k}.{i}", parameter) for k, own in enumerate(cohort.rows) for i, (parameter, _) in enumerate(own)]
