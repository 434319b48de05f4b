"""What a training run would cost, before it starts: parameters, memory, time, as the verb `plan` estimated them for these settings."""

import streamlit as st

from core import training
from core.config import TrainConfig
from core.runs import Run
from core.wording import count, day, duration, plain, three
from pages import parts

PARTS = {"weights": "base model", "adapters": "adapters", "optimiser": "optimiser", "activations": "activations", "logits": "logits"}


def show(config: TrainConfig) -> None:
    """The newest estimate for these settings; a line where there is none yet."""
    run = training.estimate(config)
    if run is None:
        st.caption("Parameters, memory and time of these settings have not been estimated yet: press Estimate below.")
    elif run.status in ("queued", "running"):
        parts.watch("plan")
    elif run.status == "done":
        figures(run)
    else:
        parts.failure(run)


def figures(run: Run) -> None:
    """Three figures, and whether it fits."""
    found = run.outputs
    with st.container(border=True):
        columns = st.columns(3)
        adapters = found["adapters"]
        columns[0].metric("Trainable parameters", f"{found['trainable_parameters']:,}", help="Of one adapter.")
        columns[0].caption(f"{count(adapters, 'adapter')} in {count(found['passes'], 'pass', 'passes')}")
        columns[1].metric("Memory at the peak", megabytes(found["memory_mb"]), help="On the device, estimated.")
        columns[1].caption(", ".join(f"{PARTS.get(name, name)} {megabytes(value)}" for name, value in found["memory_parts_mb"].items()))
        columns[2].metric("Time", duration(found["seconds"]))
        columns[2].caption(f"{found['rows']:,} rows, {found['tokens']:,} tokens, {count(found['steps'], 'step')}")
        verdict(found["fits"], found["advice"])
        st.caption(f"Estimated {day(run.finished_at)} for exactly these settings.")


def verdict(fits: bool, advice: str) -> None:
    """Fits or does not fit, and what would make it fit."""
    if fits:
        st.success(f"It fits. {plain(advice)}".strip(), icon=":material/check:")
    else:
        st.warning(f"It does not fit. {plain(advice)}".strip(), icon=":material/error:")


def megabytes(value: float) -> str:
    """MB, or GB from 1,000 on."""
    return f"{three(value / 1000)} GB" if value >= 1000 else f"{three(value)} MB"
