"""Claims about memory and time of training."""

from typing import Any

import numpy as np

from core.claims.evidence import Evidence, Ours
from core.runs import Run
from core.stats import Estimate
from core.wording import seconds_between

THEIR_RATIO, THEIR_MINUTES, THEIR_EPOCHS = 4.0, 10.0, 24


def memory(evidence: Evidence) -> Ours:
    """Peak memory of full fine-tuning over that of QLoRA, of two training runs that differ in the method alone."""
    pair = _pair([run for run in evidence.trainings if run.outputs.get("peak_memory_mb")])
    if pair is None:
        return Ours(
            "cannot be said",
            "It needs two training runs on the same model and data, one with method=full and one with method=qlora, for instance: "
            "python -m core train --method full --max_steps 4 (then qlora), with categories=pooled.",
        )
    full, qlora = pair
    peaks = [float(run.outputs["peak_memory_mb"]) for run in pair]
    how = f"Peak memory of {full.run_id} (full, {peaks[0]:,.0f} MB) over that of {qlora.run_id} (qlora, {peaks[1]:,.0f} MB), one run each."
    ratio = Estimate(peaks[0] / peaks[1], np.nan, np.nan, 2)
    holds = "holds" if ratio.value >= THEIR_RATIO else "does not hold"
    return Ours(holds, how, ratio, "times", (full.run_id, qlora.run_id))


def minutes(evidence: Evidence) -> Ours:
    """Minutes of the newest run that trained an adapter for each category, per adapter, for as many epochs as the claim's."""
    for run in evidence.trainings:
        made, epochs = run.outputs.get("adapters", ()), run.config.get("epochs")
        seconds = seconds_between(run.started_at, run.finished_at)
        if run.config.get("categories") == ["each"] and len(made) > 1 and seconds and epochs:
            value = seconds / len(made) / 60 * THEIR_EPOCHS / epochs
            how = (
                f"{len(made)} adapters in one pass took {seconds / 60:.0f} minutes for {epochs} epochs on that run's machine; "
                f"reckoned up to their {THEIR_EPOCHS} epochs. Rows and hardware differ from theirs: this is what a category costs here."
            )
            holds = "holds" if value <= THEIR_MINUTES else "does not hold"
            return Ours(holds, how, Estimate(value, np.nan, np.nan, len(made)), "minutes per adapter", (run.run_id,))
    return Ours("cannot be said", "No run has trained an adapter for each category. Run: python -m core train --categories each")


def _pair(trainings: list[Run]) -> tuple[Run, Run] | None:
    """The newest full and QLoRA runs that have all else in common."""
    for full in (run for run in trainings if run.config.get("method") == "full"):
        for qlora in (run for run in trainings if run.config.get("method") == "qlora"):
            if _common(full) == _common(qlora):
                return full, qlora
    return None


def _common(run: Run) -> dict[str, Any]:
    names = ("data", "base_model", "batch_size", "gradient_accumulation", "max_seq_length", "device", "categories")
    return {name: run.config.get(name) for name in names}
