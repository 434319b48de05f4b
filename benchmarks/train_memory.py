"""Peak memory of QLoRA by our loop, beside full fine-tuning with AdamW and beside PEFT's QLoRA.

    python benchmarks/train_memory.py [--base-model tinyllama-shape] [--rank 64] [--rows 4] [--tokens 512]

Each side trains two steps in a process of its own; memory is CUDA's allocated maximum, or on CPU the resident size above what the process
held before it loaded the model. PEFT's QLoRA is made as its documentation says (prepare_model_for_kbit_training, with and without the
gradient checkpointing that this switches on), with all rows in one pass and with one row a pass. Full fine-tuning holds weights,
gradients and both AdamW moments in fp32.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ours import full, single
from benchmarks.peers import PlainLoop, Setting, plain_laps, with_peft
from benchmarks.report import versions
from benchmarks.turns import Lap, Side, Turn, race
from benchmarks.workload import Workload, add_arguments, config_of, place


def main() -> None:
    """Print a line per side, and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, rank=64, quantization="nf4", steps=2)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=512)
    given = parser.parse_args()
    config = config_of(given, categories="pooled", batch_size=given.rows, max_steps=given.steps)
    work = Workload(config, steps=given.steps, repeats=1, tokens=given.tokens)
    print(f"{given.base_model}, {given.rows} rows x {given.tokens} tokens, r={config.r} on {given.targets}; {versions()}\n", flush=True)
    laps = {name: race({name: side}, work, place(config)[0], 1)[name][0] for name, side in sides(given.rows).items()}
    show(laps, work.steps)


def sides(rows: int) -> dict[str, Side]:
    """What is measured, one after another."""
    whole, single_rows = Setting(rows, 1), Setting(1, rows)
    return {
        "ours, QLoRA": ours,
        "ours, QLoRA, checkpointing": partial(ours, gradient_checkpointing=True),
        "ours, full": partial(ours, side=full, method="full", quantization="none"),
        "PEFT, QLoRA": partial(peft_qlora, setting=whole, checkpointing=False),
        "PEFT, QLoRA, checkpointing": partial(peft_qlora, setting=whole, checkpointing=True),
        "PEFT, QLoRA, 1 row a pass": partial(peft_qlora, setting=single_rows, checkpointing=False),
        "transformers, full": partial(transformers_full, setting=whole),
    }


def ours(work: Workload, turn: Turn, side: Side = single, **changes: Any) -> None:
    """Side: our loop, with some fields of the config changed."""
    side(replace(work, config=work.config.model_copy(update={"gradient_checkpointing": False, **changes})), turn)


def peft_qlora(work: Workload, turn: Turn, setting: Setting, checkpointing: bool) -> None:
    """Side: PEFT's QLoRA, as documented."""
    from peft import prepare_model_for_kbit_training

    turn.imported()
    base = work.base()
    how = {"use_gradient_checkpointing": checkpointing, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    base = replace(base, model=prepare_model_for_kbit_training(base.model, **how))
    model = with_peft(base, work.config).train()
    plain_laps(work, turn, PlainLoop(base, model, work.config), setting)


def transformers_full(work: Workload, turn: Turn, setting: Setting) -> None:
    """Side: every weight in fp32, AdamW, a plain loop; under autocast where the precision is lower."""
    turn.imported()
    fp32 = replace(work, config=work.config.model_copy(update={"precision": "fp32", "quantization": "none"}))
    base = replace(fp32.base(), dtype=place(work.config)[1])
    plain_laps(work, turn, PlainLoop(base, base.model.requires_grad_(True).train(), work.config), setting)


def show(laps: dict[str, Lap], steps: int) -> None:
    """The table, and what the issue asks for: at most 1/6 of full fine-tuning, and at most 0.7 of PEFT's QLoRA."""
    print("| side | loaded MB | peak MB | above loaded | seconds a step | loss |\n|---|---|---|---|---|---|")
    for name, lap in laps.items():
        above, seconds = lap.peak_mb - lap.loaded_mb, lap.seconds / steps
        print(f"| {name} | {lap.loaded_mb:,.0f} | {lap.peak_mb:,.0f} | {above:,.0f} | {seconds:.1f} | {lap.losses[0]:.3f} |")
    print()
    for mode in ("QLoRA", "QLoRA, checkpointing"):
        own, peer = laps[f"ours, {mode}"].peak_mb, laps[f"PEFT, {mode}"].peak_mb
        full = laps["transformers, full"].peak_mb
        print(f"ours, {mode}: 1/{full / own:.1f} of full fine-tuning, {own / peer:.2f} of PEFT's")


if __name__ == "__main__":
    main()
