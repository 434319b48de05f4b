"""Several processes on one run: who trains what, and what they tell each other.

`accelerate launch` or `torchrun` starts them, core/jobs/launch.py brings them together. With at least as many adapters as processes,
each adapter trains in one of them, without a word between them. With fewer, every process holds all adapters and takes its share of
each step's rows: losses are divided by the answer tokens of all rows, so the gradients of the processes add up to those of one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.tensor import DTensor, distribute_tensor

from core import runs
from core.data.packing import micro_batches
from core.train.cohort import Member
from core.train.speed import Speed
from core.train.token_store import lengths
from core.workspace import Workspace

Part = tuple[list[int], float]
"""Rows of one forward and backward pass, and what they count: 1, or 0 in a process that only keeps step with one that has more."""


@dataclass(frozen=True)
class Team:
    """Processes that share the rows of each step. A process that trains alone is a team of one."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes what all of them know."""
        return self.rank == 0

    def parts(self, lengths: Sequence[int], tokens: int) -> list[Part]:
        """This process's micro-batches of rows with these lengths, of at most `tokens` each; every process gets as many."""
        dealt = deal(lengths, self.size)
        each = [[[own[i] for i in part] for part in micro_batches([lengths[i] for i in own], tokens)] for own in dealt]
        mine = each[self.rank]
        idle = max(len(parts) for parts in each) - len(mine)
        return [(rows, 1.0) for rows in mine] + [([0], 0.0)] * idle

    def add_up(self, *tensors: Tensor) -> None:
        """Make each tensor the sum over all processes."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def agree(self, choice: bool) -> bool:
        """What the first process says."""
        if self.size == 1:
            return choice
        said = torch.tensor(int(choice))
        dist.broadcast(said, 0)
        return bool(said.item())

    def wait(self) -> None:
        """Go on when every process has come here."""
        self.agree(True)
        self.add_up(torch.zeros(1))


ALONE = Team()


@dataclass(frozen=True)
class Share(Workspace):
    """What one of several processes writes with: tables together with the others, scratch of its own where adapters are dealt."""

    rank: int = 0
    size: int = 1
    dealt: bool = False

    @property
    def scratch(self) -> Path:
        """The run's scratch folder, or this process's own in it."""
        if not self.dealt:
            return super().scratch
        own = super().scratch / f"process-{self.rank}-of-{self.size}"
        own.mkdir(exist_ok=True)
        return own

    def event(self, kind: str, **values: Any) -> None:
        """The first process speaks for all."""
        if self.rank == 0:
            super().event(kind, **values)

    def say(self, message: str) -> None:
        """One line for the person who watches; what the other processes say stands in the log alone."""
        if self.rank == 0:
            super().say(message)
        else:
            print(f"Process {self.rank}: {message}", flush=True)

    @contextmanager
    def tables(self) -> Iterator[None]:
        """Within: no other process writes the run's tables. Of a run that has been cancelled, none does any more."""
        if self.size == 1:
            yield
            return
        with runs.locked(self.run.run_id):
            if runs.read(self.run.run_id).status != "running":
                raise KeyboardInterrupt
            yield


def everyone() -> Team:
    """All processes of this run."""
    return Team(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Team()


def together(speed: Speed, everyone: Team) -> Speed:
    """The speed of all processes, which must all come here. Their machines count as alike."""
    rates = torch.tensor([speed.tokens_per_second, speed.flops_per_second], dtype=torch.float64)
    everyone.add_up(rates)
    tokens, flops = rates.tolist()
    return Speed(tokens, flops, speed.matrix_peak * everyone.size, speed.dtype)


class Hands:
    """Which process trains which members: dealt by their tokens, or all of them everywhere when they are fewer than the processes."""

    def __init__(self, whole: Workspace, members: Sequence[Member], processes: int) -> None:
        self.whole = whole
        self.processes = processes
        self.dealt = 1 < processes <= len(members)
        hands = deal([tokens(member) for member in members], processes) if self.dealt else [range(len(members))] * processes
        self.members = [[members[k] for k in hand] for hand in hands]
        """Of each process."""

    def team(self, all_processes: Team) -> Team:
        """Who shares the rows of a step."""
        return ALONE if self.dealt else all_processes

    def workspace(self, rank: int) -> Share:
        """What a process writes with."""
        return Share(self.whole.run, self.whole.heard, rank, self.processes, self.dealt)

    def finished(self) -> dict[str, Path]:
        """Where each member's folder waits to be published, by its name."""
        ranks = range(self.processes if self.dealt else 1)
        return {member.name: finished(self.workspace(rank).scratch, member) for rank in ranks for member in self.members[rank]}


def finished(scratch: Path, member: Member) -> Path:
    """Where a member that has finished waits to be published, in the scratch folder of who trained it."""
    return scratch / "adapters" / member.name


def deal(sizes: Sequence[int], hands: int) -> list[list[int]]:
    """Indices in as many hands, with about even sums of sizes: the largest first, each to the hand that has least (Graham 1969)."""
    held, dealt = [0] * hands, [[] for _ in range(hands)]  # type: list[int], list[list[int]]
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        hand = held.index(min(held))
        held[hand] += sizes[index]
        dealt[hand].append(index)
    return [sorted(own) for own in dealt]


def whole(tensor: Tensor) -> Tensor:
    """A tensor whose parts may lie in several processes. All of them must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def laid_out_as(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a tensor that each process has whole."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def tokens(member: Member) -> int:
    """About how many tokens a member's training takes."""
    return int(lengths(member.train).sum()) * member.total_steps // member.steps_per_epoch
