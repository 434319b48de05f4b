"""One adapter on real rows of mixed length: our loop beside PEFT in a plain loop, HF Trainer + PEFT, and TRL's SFTTrainer + PEFT.

    python benchmarks/train_single.py [--precision bf16] [--category hacker] [--rows-per-step 8] [--json OUT]

The same rows in the same order and steps, the same start of the adapter, learning rate, schedule, clipping and AdamW; tokens are those
of the rows, never padding. Two peer modes can't keep the order (Trainer's own length grouping, TRL's packing): they train on the same
rows as a whole. `benchmarks/peers.py` says what is done in the peers' favour. On CPU and CUDA, without a network.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ours import single
from benchmarks.peers import Setting, hf_trainer, peft_loop, trl_trainer
from benchmarks.report import OURS, Machine, show, write
from benchmarks.turns import Missing, race, speeds
from benchmarks.workload import Workload, add_arguments, config_of, counts, place, steps_of
from core.models.load import load_tokenizer
from core.train.cohort import Member

PEERS: dict[str, Callable[..., None]] = {
    "peft": peft_loop,
    "hf": hf_trainer,
    "hf grouped": hf_trainer,
    "trl": trl_trainer,
    "trl packed": trl_trainer,
}


def main() -> None:
    """Try each peer's settings, let all sides take turns with their best, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--category", default="cynic", help="a category of the data, or 'pooled' for all rows")
    parser.add_argument("--rows-per-step", type=int, default=8)
    parser.add_argument("--peers", default=",".join(PEERS), help="which peers, separated by commas")
    given = parser.parse_args()
    work = workload(given)
    machine = Machine.measure(work.config)
    member = work.members(load_tokenizer(work.config.base_model))[0]
    print(describe(work, member))
    chosen, notes = choose(work, member, given.peers.split(","))
    sides = {OURS: single} | {name: partial(PEERS[name], setting=setting) for name, setting in chosen.items()}
    laps = race(sides, work, place(work.config)[0], work.repeats)
    show(machine, laps, notes, reordered=[name for name, setting in chosen.items() if not setting.same_rows])
    if given.json:
        write(given.json, machine, laps, notes, work)


def workload(given: argparse.Namespace) -> Workload:
    """What all sides train."""
    steps = steps_of(given)
    warmup = 1 if steps == 2 else steps
    total = warmup + given.repeats * steps
    config = config_of(given, categories=given.category, batch_size=given.rows_per_step, max_steps=total)
    return Workload(config, steps=steps, warmup=warmup, repeats=given.repeats)


def candidates(work: Workload, member: Member) -> dict[str, list[Setting]]:
    """What is tried for each peer."""
    total = work.config.batch_size
    sizes = [(rows, total // rows) for rows in (1, 2, 4, 8, 16, 32) if total % rows == 0]
    step, longest = counts(member, range(work.total_steps))[0] // work.total_steps, max(map(len, member.train))
    return {
        "peft": [Setting(*size) for size in sizes],
        "hf": [Setting(*size) for size in sizes],
        "hf grouped": [Setting(*size, grouped=True) for size in sizes[1:]],
        "trl": [Setting(*size, padding_free=free) for free in (False, True) for size in sizes[-2:] if not free or size[0] > 1],
        "trl packed": [Setting(1, passes, packed=max(longest, step // passes)) for passes in (1, 2)],
    }


def choose(work: Workload, member: Member, peers: list[str]) -> tuple[dict[str, Setting], dict[str, str]]:
    """The fastest setting of each peer, and what is to be said of each: what was tried, or why it is left out."""
    trial = replace(work, repeats=1, steps=max(1, work.steps // 2))
    chosen, notes = {}, {}
    for name in peers:
        settings = candidates(work, member)[name]
        try:
            found = speeds(PEERS[name], settings, trial, place(work.config)[0])
        except Missing as reason:
            notes[name] = f"left out: {reason}"
            continue
        chosen[name] = settings[found.index(max(found))]
        tried = ", ".join(f"{setting}: {speed:.0f}" for setting, speed in zip(settings, found, strict=True))
        notes[name] = f"{chosen[name]} (tried, tokens/s: {tried})"
    return chosen, notes


def describe(work: Workload, member: Member) -> str:
    """The training in a line."""
    config, lengths = work.config, sorted(map(len, member.train))
    tokens, answers = counts(member, range(work.total_steps))
    return (
        f"{config.base_model}, {config.method} r={config.r} on {','.join(config.target_modules)}, {config.batch_size} rows a step; "
        f"{work.repeats} laps of {work.steps} steps after {work.warmup} to warm up. Rows of {lengths[0]} to {lengths[-1]} tokens, "
        f"median {lengths[len(lengths) // 2]}; {tokens / work.total_steps:.0f} tokens a step, {answers / tokens:.0%} of them answers"
    )


if __name__ == "__main__":
    main()
