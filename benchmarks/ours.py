"""Our loop as a side: one adapter, a whole model, adapters together, and adapters one after another."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.turns import Turn
from benchmarks.workload import Workload, counts
from core.models.load import BaseModel
from core.registry import lookup
from core.train import METHODS
from core.train.cohort import Member
from core.train.full import Full, WholeModel
from core.train.loop import Cohort
from core.train.training_bank import TrainingBank


def cohort(base: BaseModel, members: Sequence[Member]) -> Cohort:
    """The members, ready to step."""
    config = members[0].config
    method = lookup(METHODS, "tuning method", config.method).load()(config)
    bank = TrainingBank(base.model, method, [member.name for member in members], config)
    return Cohort(base, bank, members)


def single(work: Workload, turn: Turn) -> None:
    """Side: one adapter; the training goes on from lap to lap."""
    turn.imported()
    base = work.base()
    _laps(cohort(base, work.members(base.tokenizer)[:1]), work, turn)


def full(work: Workload, turn: Turn) -> None:
    """Side: full fine-tuning of the whole model."""
    turn.imported()
    base = Full(work.config).load()
    with TemporaryDirectory() as folder:
        whole = WholeModel(base, "whole", Path(folder))
        _laps(Cohort(base, whole, work.members(base.tokenizer)[:1]), work, turn)


def together(work: Workload, turn: Turn) -> None:
    """Side: all adapters in one pass."""
    turn.imported()
    base = work.base()
    members = work.members(base.tokenizer)
    _train([members], base, work, Turn(turn.device))
    for _ in range(work.repeats):
        turn.wait()
        _train([members], base, work, turn)


def apart(work: Workload, turn: Turn) -> None:
    """Side: the same adapters one after another."""
    turn.imported()
    base = work.base()
    members = work.members(base.tokenizer)
    _train([[member] for member in members], base, work, Turn(turn.device))
    for _ in range(work.repeats):
        turn.wait()
        _train([[member] for member in members], base, work, turn)


def _laps(training: Cohort, work: Workload, turn: Turn) -> None:
    for _ in range(work.warmup):
        training.step()
    for steps in work.laps():
        turn.wait()
        turn.start()
        losses = [training.step()[0].loss for _ in steps]
        turn.stop()
        turn.report(*counts(training.members[0], steps), (sum(losses) / len(losses),))


def _train(passes: Sequence[Sequence[Member]], base: BaseModel, work: Workload, turn: Turn) -> None:
    """A lap: every adapter from its start, for the steps of a lap; making the bank is not timed."""
    losses: list[float] = []
    for members in passes:
        training = cohort(base, members)
        turn.start()
        for _ in range(work.steps):
            rows = training.step()
        turn.stop()
        losses += [row.loss for row in rows]
        training.bank.detach()
    done = [counts(member, range(work.steps)) for members in passes for member in members]
    turn.report(*map(sum, zip(*done, strict=True)), tuple(losses))
