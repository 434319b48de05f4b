"""Train what a config asks for: cohorts as large as memory allows, one after another, and the tables of the run."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from core import paths, results
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.errors import UserError
from core.models.load import load_tokenizer
from core.models.memory import peak_mb
from core.registry import lookup
from core.results import Step, Token
from core.train import METHODS, curves, distributed
from core.train.cohort import Member, gather
from core.train.distributed import Hands, Team
from core.train.part import begin
from core.train.speed import Speed
from core.workspace import Workspace

SHOWN_MEMBERS = 8
"""Adapters whose first batch is written out."""


def run(config: TrainConfig, workspace: Workspace) -> dict[str, Any]:
    """Train what `config` asks for. Adapters appear under adapters/, whole models under models/, when all of them are finished.

    Of several processes each comes here, and the first one returns the outputs.
    """
    everyone = distributed.everyone()
    lookup(METHODS, "tuning method", config.method).load()(config)
    prompter = Prompter(load_tokenizer(config.base_model), config.system_prompt, config.max_seq_length)
    tell = partial(_tell_rows, workspace)
    members, notes = gather(config, read(config, tell), prompter, tell)
    _check_names(members, config, workspace)
    if everyone.leads:
        for note in [*prompter.notes(), *notes]:
            workspace.say(note)
        _write_first_batch(members[:SHOWN_MEMBERS], prompter.tokenizer, workspace.path / "first_batch.csv")
    if workspace.run.executor == "ray":
        from core.train import away

        made, speed, memory_mb = away.train(members, workspace)
    else:
        made, speed, memory_mb = _train(members, workspace, everyone)
    if not everyone.leads:
        return {}
    steps = results.read(workspace.path / "steps.csv", Step)
    curves.write_tensorboard(steps, workspace.path / "tensorboard")
    curves.write_png(steps, workspace.path / "loss_curve.png")
    published = [workspace.publish(made[member.name], _shelf(config) / member.name, config.replace) for member in members]
    told = speed.told(workspace.say, full=config.method == "full")
    return _outputs(published, steps, workspace) | told | {"peak_memory_mb": round(memory_mb, 1)}


def _train(members: Sequence[Member], workspace: Workspace, everyone: Team) -> tuple[dict[str, Path], Speed, float]:
    """In this process, and those that a launcher started. Returns folders by member, the speed of all, and this one's peak memory in MB."""
    hands = Hands(workspace, members, everyone.size)
    part = begin(hands.members[everyone.rank], hands.workspace(everyone.rank), hands.team(everyone))
    part.train_all()
    return hands.finished(), distributed.together(part.speed(everyone.leads), everyone), peak_mb(part.base.device)


def _tell_rows(workspace: Workspace, done: int, total: int) -> None:
    """Of a large dataset, which is read and tokenised once."""
    workspace.progress(done, total, "rows", "reading")


def _shelf(config: TrainConfig) -> Path:
    """The folder that finished members are published in."""
    return paths.models() if config.method == "full" else paths.adapters()


def _check_names(members: list[Member], config: TrainConfig, workspace: Workspace) -> None:
    for shelf in (paths.merged_adapters(), paths.models(), paths.adapters()):
        own = shelf == _shelf(config)
        found = [shelf / member.name for member in members if (shelf / member.name).exists()]
        taken = ", ".join(folder.name for folder in found if not (own and workspace.made(folder)))
        if taken and not own:
            raise UserError(f"{shelf.name}/ has {taken} already, and names must tell models apart. Choose another name.")
        if taken and not config.replace:
            raise UserError(f"{shelf.name}/ has {taken} already. Choose another name, or say replace=true to train it anew.")


def _write_first_batch(members: Sequence[Member], tokenizer: Any, file: Path) -> None:
    """The tokens of each member's first optimiser step."""
    rows = []
    for member in members:
        for place, example in enumerate(member.batch(0)):
            texts = tokenizer.batch_decode([[token] for token in example.prompt + example.answer])
            answer = len(example.prompt)
            rows += [Token(member.name, place, position, text, int(position >= answer)) for position, text in enumerate(texts)]
    results.write(file, rows, Token)


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
