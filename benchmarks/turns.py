"""Sides of a comparison, each in a process of its own, that take turns: A B C, B C A, ... so that a busy minute hits all of them.

A side is a function `side(work, turn)`: it loads, warms up, and then for every lap waits, starts, stops and reports. While one side
runs the others sleep. Every side's memory is its own process's; on CPU it is read from /proc, so from Linux.
"""

import gc
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Lap:
    """What a side did in one turn."""

    seconds: float
    tokens: int
    """Tokens of the rows it trained on, prompt and answer, no padding."""
    answer_tokens: int
    losses: tuple[float, ...]
    """Nats per answer token: one per adapter."""
    loaded_mb: float
    """Memory before the first lap, above what the process held before it loaded the model."""
    peak_mb: float
    """The most memory since, above the same."""

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


class Turn:
    """A side's stopwatch. Without a connection nobody waits: a trial."""

    def __init__(self, device: torch.device, connection: Connection | None = None) -> None:
        self.device = device
        self.connection = connection
        self.laps: list[Lap] = []
        self._own_mb = self._loaded_mb = self._seconds = self._begun = 0.0

    def imported(self) -> None:
        """Call it before the model is loaded: what the process holds now is its own."""
        if self.device.type != "cuda":
            self._own_mb = _resident_mb("VmRSS")

    def wait(self) -> None:
        """Until it is this side's turn."""
        if self.connection:
            if not self.laps:
                self._forget_peak()
                self.connection.send(None)
            self.connection.recv()

    def start(self) -> None:
        """Let the time run."""
        self._finish()
        self._begun = time.perf_counter()

    def stop(self) -> None:
        """Stop it; a lap's stretches add up."""
        self._finish()
        self._seconds += time.perf_counter() - self._begun

    def report(self, tokens: int, answer_tokens: int, losses: tuple[float, ...]) -> None:
        """End the lap."""
        lap = Lap(self._seconds, tokens, answer_tokens, losses, self._loaded_mb, self._peak_mb())
        self.laps.append(lap)
        self._seconds = 0.0
        if self.connection:
            self.connection.send(lap)

    def _finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _forget_peak(self) -> None:
        """Begin to look for the most memory anew."""
        if self.device.type == "cuda":
            self._loaded_mb = torch.cuda.memory_allocated() / 1e6
            torch.cuda.reset_peak_memory_stats()
        else:
            self._loaded_mb = _resident_mb("VmRSS") - self._own_mb
            Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: sets VmHWM back to VmRSS

    def _peak_mb(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 1e6
        return _resident_mb("VmHWM") - self._own_mb


Side = Callable[[Any, Turn], None]


class Missing(Exception):
    """A side that can't run here."""


class Process:
    """A side in a process of its own."""

    def __init__(self, side: Side, work: Any, device: torch.device) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, there = context.Pipe()
        self.process = context.Process(target=_run, args=(side, work, device.type, there), daemon=True)
        self.process.start()
        there.close()

    def receive(self) -> Any:
        """What it sends next."""
        try:
            received = self.connection.recv()
        except EOFError:
            sys.exit("A side's process ended early (killed: out of memory?).")
        if isinstance(received, str):
            sys.exit(f"A side failed:\n{received}")
        if isinstance(received, Missing):
            raise received
        return received

    def lap(self) -> Lap:
        """Let it do a lap."""
        self.connection.send("go")
        lap: Lap = self.receive()
        return lap

    def end(self) -> None:
        """End it."""
        self.connection.close()
        self.process.join(30)
        self.process.kill()


def race(sides: Mapping[str, Side], work: Any, device: torch.device, repeats: int) -> dict[str, list[Lap]]:
    """Let every side get ready alone, then let them take turns, beginning with another one in each round."""
    running: dict[str, Process] = {}
    laps: dict[str, list[Lap]] = {name: [] for name in sides}
    try:
        for name, side in sides.items():
            running[name] = Process(side, work, device)
            running[name].receive()
            say(f"{name} is ready")
        for number in range(repeats):
            names = list(running)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                laps[name].append(running[name].lap())
            say(f"round {number + 1} of {repeats}, tokens/s: " + ", ".join(f"{name} {laps[name][-1].speed:.0f}" for name in names))
    finally:
        for each in running.values():
            each.end()
    return laps


def speeds(side: Callable[..., None], settings: Sequence[Any], work: Any, device: torch.device) -> list[float]:
    """Tokens per second of one lap with each setting, tried one after another in a process of its own."""
    process = Process(partial(_try, side, settings), work, device)
    try:
        found = []
        for setting in settings:
            found.append(process.receive().speed)
            say(f"tried {setting}: {found[-1]:.0f} tokens/s")
        return found
    finally:
        process.end()


def _try(side: Callable[..., None], settings: Sequence[Any], work: Any, turn: Turn) -> None:
    assert turn.connection
    for setting in settings:
        trial = Turn(turn.device)
        side(work, trial, setting)
        turn.connection.send(trial.laps[0])
        gc.collect()


def _run(side: Side, work: Any, device: str, connection: Connection) -> None:
    """A side's process. A package that is missing is told; anything else is a failure of the benchmark."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # with several GPUs Trainer would spread over them
    try:
        side(work, Turn(torch.device(device), connection))
    except ModuleNotFoundError as error:
        connection.send(Missing(f"the package {error.name} is not installed"))
    except (EOFError, BrokenPipeError):  # the race was called off
        pass
    except Exception:
        connection.send(traceback.format_exc())


def say(line: str) -> None:
    """Progress, beside the result."""
    print(f"  {line}", file=sys.stderr, flush=True)


def _resident_mb(which: str) -> float:
    """VmRSS (now) or VmHWM (the most so far) of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return float(line.split()[1]) * 1024 / 1e6
