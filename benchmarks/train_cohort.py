"""K adapters together by our loop, beside PEFT one after another (eager, and compiled), and beside our loop one after another.

    python benchmarks/train_cohort.py --line 4               # CPU: 4 categories x 1 row x 64 tokens, SmolLM2
    python benchmarks/train_cohort.py --line 5               # CUDA: TinyLlama's shape in bf16 and NF4, SmolLM2's shape with 32 adapters
    python benchmarks/train_cohort.py --sizes 1x64,4x128,4x512 --sides apart       # is together ever slower than apart?
    python benchmarks/train_cohort.py --mixed --categories 7 --rows 4              # real rows of mixed length

A lap trains every adapter from the same start on the same rows; the losses of all adapters must be equal. Optimiser steps of all sides
are part of the time; making adapters and compiling are not. Rows of fixed length are cut from real text, so nobody pads.
`benchmarks/peers.py` says what is done in PEFT's favour. On CPU and CUDA, without a network.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ours import apart, together
from benchmarks.peers import Setting, peft_apart
from benchmarks.report import OURS, Machine, show, write
from benchmarks.turns import race, speeds
from benchmarks.workload import Workload, add_arguments, config_of, place, steps_of
from core.models import bundled

SIDES = ("peft", "compiled", "apart")

TINYLLAMA = {
    **{"base_model": "tinyllama-shape", "categories": 8, "sizes": "4x256", "device": "cuda", "precision": "bf16"},
    **{"rank": 16, "targets": "all-linear", "sides": "peft,compiled,apart", "steps": 5},
}
LINES: dict[int, list[dict[str, Any]]] = {
    4: [{"base_model": bundled.NAME, "categories": 4, "sizes": "1x64", "device": "cpu", "steps": 4, "sides": "peft,apart"}],
    5: [
        TINYLLAMA,
        {**TINYLLAMA, "quantization": "nf4", "sides": "peft", "steps": 3},
        {**TINYLLAMA, "base_model": "smollm2-shape", "categories": 32, "sizes": "4x128", "steps": 2},
    ],
}
"""What the issue's lines ask for."""


def main() -> None:
    """One table per workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--line", type=int, choices=LINES, help="a preset; other arguments but --repeats and --json are its own")
    parser.add_argument("--categories", type=int, default=4, help="adapters that train")
    parser.add_argument("--sizes", default="1x64", help="rows x tokens of an adapter's step, several separated by commas")
    parser.add_argument("--mixed", action="store_true", help="real rows as they are; of --sizes only the rows count")
    parser.add_argument("--sides", default="peft,apart", help=f"what stands beside: {', '.join(SIDES)}")
    given = parser.parse_args()
    for number, preset in enumerate(LINES[given.line] if given.line else [{}]):
        chosen = argparse.Namespace(**{**vars(given), **preset})
        for size in chosen.sizes.split(","):
            rows, _, tokens = size.partition("x")
            compare(chosen, int(rows), None if given.mixed else int(tokens), number)


def compare(given: argparse.Namespace, rows: int, tokens: int | None, number: int) -> None:
    """One race."""
    steps = steps_of(given)
    config = config_of(given, categories="each", batch_size=rows, max_steps=steps)
    work = Workload(config, adapters=given.categories, steps=steps, repeats=given.repeats, tokens=tokens)
    machine = Machine.measure(config)
    base = f"{given.base_model}{' in NF4' if config.quantization == 'nf4' else ''}, r={config.r} on {given.targets}"
    print(f"\n## {base}: {given.categories} adapters x {rows} rows x {tokens or 'mixed'} tokens, laps of {steps} steps", flush=True)
    setting, notes = best_passes(work)
    peft = partial(peft_apart, setting=setting)
    known = {"peft": peft, "compiled": partial(peft, compiled=True), "apart": apart}
    sides = {OURS: together} | {name: known[name] for name in given.sides.split(",")}
    laps = race(sides, work, place(config)[0], work.repeats)
    show(machine, laps, notes)
    if given.json:
        write(given.json.with_stem(f"{given.json.stem}-{number}-{rows}x{tokens or 'mixed'}"), machine, laps, notes, work)


def best_passes(work: Workload) -> tuple[Setting, dict[str, str]]:
    """How PEFT forms its passes: a step in one where nothing is padded, else as is fastest for one adapter."""
    total = work.config.batch_size
    settings = [Setting(rows, total // rows) for rows in (1, 2, 4, 8, 16, 32) if total % rows == 0]
    if work.tokens or len(settings) == 1:
        return Setting(total, 1), {}
    found = speeds(peft_apart, settings, replace(work, adapters=1, repeats=1), place(work.config)[0])
    tried = ", ".join(f"{setting}: {speed:.0f}" for setting, speed in zip(settings, found, strict=True))
    best = settings[found.index(max(found))]
    return best, {"peft": f"{best} (tried with one adapter, tokens/s: {tried})"}


if __name__ == "__main__":
    main()
