"""The table of a race: speed, ratio, share of the machine's matrix peak, memory, and whether the losses are equal."""

import json
import os
import platform
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.turns import Lap
from benchmarks.workload import Workload, place
from core.config import TrainConfig
from core.models.load import resolve
from core.train.speed import matrix_peak, training_flops

EQUAL = 0.01
"""Relative difference of losses above which a ratio does not count."""
OURS = "ours"
"""The side that the others are held against."""


@dataclass(frozen=True)
class Machine:
    """What shares are taken of."""

    device: str
    precision: str
    threads: int
    load: float
    """Processes that wanted to run before the race, in the last minute."""
    peak: float
    """FLOP/s of a large matrix product."""
    per_token: float
    """FLOP of training on a token, without the output layer."""
    per_answer_token: float
    """FLOP of the output layer."""

    @classmethod
    def measure(cls, config: TrainConfig) -> "Machine":
        """This machine, for the base model of a config."""
        device, dtype = place(config)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(resolve(config.base_model)))
        name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
        peak = max(matrix_peak(device, dtype) for _ in range(3))
        flops = training_flops(model, 1, 0), training_flops(model, 0, 1)
        return cls(name, str(dtype).removeprefix("torch."), torch.get_num_threads(), os.getloadavg()[0], peak, *flops)

    def share(self, lap: Lap) -> float:
        """Share of the peak that a lap's training takes at the least: 4 FLOP per weight and token, the head on answer tokens."""
        return (self.per_token * lap.tokens + self.per_answer_token * lap.answer_tokens) / lap.seconds / self.peak

    def __str__(self) -> str:
        threads = "" if torch.cuda.is_available() else f", {self.threads} threads, load {self.load:.1f}"
        return f"{self.device}{threads}; {self.precision} matrix product {self.peak / 1e12:,.3g} TFLOP/s"


def show(machine: Machine, laps: Mapping[str, Sequence[Lap]], notes: Mapping[str, str], reordered: Collection[str] = ()) -> None:
    """Print the table. Sides in `reordered` train on the same rows in another order: their loss is compared over all laps."""
    print(f"\n{machine}\n{versions()}\n")
    print("| side | tokens/s | ours is faster | of matrix peak | peak memory MB | loss | against ours |")
    print("|---|---|---|---|---|---|---|")
    for name, own in laps.items():
        speeds, ratios = [lap.speed for lap in own], ratio(laps, name)
        share = statistics.median(machine.share(lap) for lap in own)
        loss, difference = _losses(laps, name, whole=name in reordered)
        counts = "" if name == OURS else f"{difference:.2%}{' over all laps' if name in reordered else ''}"
        if name not in reordered and difference > EQUAL:
            counts += " NOT EQUAL: the ratio does not count"
        against = "" if name == OURS else spread(ratios, 2, "x")
        memory = max(lap.peak_mb for lap in own)
        print(f"| {name} | {spread(speeds)} | {against} | {share:.1%} | {memory:,.0f} | {loss:.4f} | {counts} |")
    for name, note in notes.items():
        print(f"- {name}: {note}")


def ratio(laps: Mapping[str, Sequence[Lap]], name: str) -> list[float]:
    """Our tokens per second by a side's, round by round."""
    return [ours.speed / other.speed for ours, other in zip(laps[OURS], laps[name], strict=True)]


def write(file: Path, machine: Machine, laps: Mapping[str, Sequence[Lap]], notes: Mapping[str, Any], work: Workload) -> None:
    """All figures as JSON."""
    sides = {name: {"laps": [asdict(lap) | {"share": machine.share(lap)} for lap in own]} for name, own in laps.items()}
    workload = asdict(work) | {"config": work.config.model_dump(mode="json")}
    found = {"machine": asdict(machine), "versions": versions(), "workload": workload, "notes": dict(notes), "sides": sides}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1))


def versions() -> str:
    """Of the packages that take part."""
    found = {}
    for name in ("torch", "transformers", "peft", "accelerate", "trl"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return ", ".join(f"{name} {number}" for name, number in found.items())


def spread(values: Sequence[float], digits: int = 0, unit: str = "") -> str:
    """Median, with smallest and largest."""
    return f"{statistics.median(values):,.{digits}f}{unit} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def _losses(laps: Mapping[str, Sequence[Lap]], name: str, whole: bool) -> tuple[float, float]:
    """A side's mean loss in the last lap (`whole`: in all laps), and the largest relative difference to ours, adapter by adapter."""
    mine, other = ([lap.losses for lap in laps[side]] for side in (OURS, name))
    if whole:
        mine, other = ([[statistics.mean(losses[0] for losses in side)]] for side in (mine, other))
    pairs = list(zip(mine[-1], other[-1], strict=True))
    return statistics.mean(loss for _, loss in pairs), max(abs(a - b) / a for a, b in pairs)
