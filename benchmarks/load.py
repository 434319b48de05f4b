"""Many clients at once, for long: is every answer right, and is the engine afterwards as it was before?

    python benchmarks/load.py [--clients 200] [--seconds 300] [--base_model bundled] [--questions 6] [--tokens 48] [--json OUT]

An engine of its own on a tiny model (or --base_model) is asked for the base, adapters and mixes, greedy and seeded, whole and streamed.
One in ten requests breaks off at a random point, and an adapter appears, is replaced and is dropped again and again. Each finished answer
is held against what the engine said when it was quiet (benchmarks/load_answers.py). Then: nothing under way and nothing waiting, threads
(but for a pool's) and open files as before, memory flat after the warm-up, and a last round of answers is right. Exits 1 when not so.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from benchmarks import tiny
from benchmarks.load_answers import Shelf, referee
from benchmarks.load_clients import Crowd
from benchmarks.report import versions
from core.serve import client, resident

CALM_SECONDS = 20
"""How long the engine may take to be idle, once nobody asks."""
WARM = 0.5
"""Share of the time after which memory counts."""
MEMORY_SECONDS = 120
"""In a shorter run memory is shown, not judged: caches still fill."""
MOST_MB_PER_MINUTE = 2.0
"""Memory that grows slower than this after the warm-up is flat."""
MORE_FILES = 2
POOL = 40
"""Threads that a pool may have made meanwhile, as many as anyio's at most; one that leaks with every request would show far more."""


@dataclass
class Process:
    """What an engine's process holds."""

    threads: int
    files: int
    memory_mb: float


@dataclass
class Report:
    """What happened, and what is wrong with it."""

    clients: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)
    answers_per_second: float = 0.0
    tokens_per_second: float = 0.0
    latency_seconds: dict[str, float] = field(default_factory=dict)
    before: Process | None = None
    after: Process | None = None
    memory_mb_per_minute: float | None = None
    """After the warm-up; missing where too little was sampled."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds, MB."""
    faults: list[str] = field(default_factory=list)


def main() -> int:
    """Load, print, keep; the exit status says whether all was right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--base_model", help="empty: a tiny one")
    parser.add_argument("--questions", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=48, help="of the longest answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tiny.engine(given.base_model, precision="fp32") as engine:
        print(f"load {os.getloadavg()[0]:.1f}; {versions()}")
        report = asyncio.run(load(engine, given.clients, given.seconds, given.questions, given.tokens, given.seed))
    show(report)
    if given.json:
        given.json.write_text(json.dumps(asdict(report), indent=1))
    return int(bool(report.faults))


async def load(engine: resident.Engine, clients: int, seconds: float, questions: int, tokens: int, seed: int) -> Report:
    """Learn the right answers while it is quiet, warm up, load, calm down, look again."""
    began = time.monotonic()
    shelf = Shelf()
    rules = await referee(engine, shelf, questions, tokens)
    print(f"{len(rules.known)} right answers known after {time.monotonic() - began:.0f} s", flush=True)
    report, crowd = Report(clients, seconds), Crowd(engine, rules, shelf, seed)
    await crowd.burst(clients)
    await calm(engine, report)
    report.before = looked_at(engine)
    await loaded(engine, crowd, report)
    await calm(engine, report)
    report.after = looked_at(engine)
    await crowd.burst(2 * client.health(engine)["places"])
    summed(report, crowd)
    return report


async def loaded(engine: resident.Engine, crowd: Crowd, report: Report) -> None:
    """The load itself, with a look at the memory every second."""
    crowd.results.clear()
    began = time.monotonic()
    crowding = asyncio.ensure_future(crowd.run(report.clients, report.seconds))
    while not crowding.done():
        report.memory.append((time.monotonic() - began, looked_at(engine).memory_mb))
        await asyncio.wait([crowding], timeout=1)
    await crowding
    took = time.monotonic() - began
    finished = [each for each in crowd.results if each.verdict in ("right", "near tie")]
    if finished:
        spent = sorted(each.seconds for each in finished)
        report.answers_per_second = len(finished) / took
        report.tokens_per_second = sum(each.tokens for each in finished) / took
        report.latency_seconds = {"median": statistics.median(spent), "95 %": spent[int(0.95 * len(spent))], "longest": spent[-1]}


async def calm(engine: resident.Engine, report: Report) -> None:
    """Wait until nobody is served any more; it is a fault when that doesn't happen."""
    until = time.monotonic() + CALM_SECONDS
    health: dict[str, Any] = {}
    while time.monotonic() < until:
        health = await asyncio.to_thread(client.health, engine)
        if not health["answers"] and not health["waiting"]:
            await asyncio.sleep(1.5)  # connections and their threads close
            return
        await asyncio.sleep(0.1)
    report.faults.append(f"{health['answers']} answers under way and {health['waiting']} waiting, {CALM_SECONDS} s after the last request")


def looked_at(engine: resident.Engine) -> Process:
    """The process as it is now."""
    process = psutil.Process(engine.pid)
    return Process(process.num_threads(), process.num_fds(), process.memory_info().rss / 1e6)


def summed(report: Report, crowd: Crowd) -> None:
    """Count, and judge."""
    report.counts = dict(Counter(each.verdict for each in crowd.results))
    report.faults += [each.said for each in crowd.results if each.verdict == "wrong"][:20]
    assert report.before and report.after
    if report.after.files > report.before.files + MORE_FILES:
        report.faults.append(f"{report.before.files} files were open before, {report.after.files} after")
    if report.after.threads > report.before.threads + POOL:
        report.faults.append(f"{report.before.threads} threads ran before, {report.after.threads} after")
    report.memory_mb_per_minute = slope([each for each in report.memory if each[0] >= WARM * report.seconds])
    if report.seconds >= MEMORY_SECONDS and (report.memory_mb_per_minute or 0) > MOST_MB_PER_MINUTE:
        report.faults.append(f"memory grows by {report.memory_mb_per_minute:.1f} MB a minute after the warm-up")


def slope(samples: list[tuple[float, float]]) -> float | None:
    """MB per minute, by least squares; None of fewer than three samples."""
    if len(samples) < 3:
        return None
    found = statistics.linear_regression([seconds / 60 for seconds, _ in samples], [megabytes for _, megabytes in samples])
    return found.slope


def show(report: Report) -> None:
    """The table."""
    print(f"\n{report.clients} clients for {report.seconds:g} s")
    for verdict, number in sorted(report.counts.items(), key=lambda each: -each[1]):
        print(f"  {number:8,}  {verdict}")
    print(f"  {report.answers_per_second:8.1f}  finished answers a second")
    print(f"  {report.tokens_per_second:8.0f}  tokens a second")
    for name, seconds in report.latency_seconds.items():
        print(f"  {seconds:8.2f}  s to the end of an answer, {name}")
    for name, process in (("before", report.before), ("after", report.after)):
        assert process
        print(f"  {name:>8}  {process.threads} threads, {process.files} open files, {process.memory_mb:.0f} MB")
    if report.memory_mb_per_minute is not None:
        print(f"  {report.memory_mb_per_minute:+8.2f}  MB a minute after the warm-up")
    for fault in report.faults:
        print(f"FAULT {fault}")
    print("all right" if not report.faults else f"{len(report.faults)} faults")


if __name__ == "__main__":
    sys.exit(main())
