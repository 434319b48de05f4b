"""What a training run would take, before it starts: parameters, memory and time, as the verb `plan` estimated them for these settings."""

from typing import Any

import streamlit as st

from core import training
from core.config import TrainConfig
from core.runs import Run
from core.wording import count, day, duration, percent, plain, three
from pages import parts

NAMES = {"weights": "base model"}
"""Parts of the memory that are called otherwise on the page."""


def show(config: TrainConfig) -> bool:
    """The newest estimate for these settings; a line where there is none yet. True when there is one."""
    run = training.estimate(config)
    if run is None:
        st.caption("Parameters, memory and time of these settings have not been estimated yet: press Estimate.")
    elif run.status in ("queued", "running"):
        parts.watch("plan")
    elif run.status == "done":
        figures(run)
    else:
        parts.failure(run)
    return run is not None and run.status == "done"


def figures(run: Run) -> None:
    """Three figures, and whether it fits."""
    found = run.outputs
    with st.container(border=True):
        parameters, memory, time = st.columns(3)
        share = found["trainable_parameters"] / found["all_parameters"]
        parameters.metric("Trainable parameters", f"{found['trainable_parameters']:,}", help="Numbers that train in one adapter.")
        dealt = f"{count(found['adapters'], 'adapter')} in {count(found['passes'], 'pass', 'passes')}"
        parameters.caption(f"{percent(share)} of {found['all_parameters']:,}. {dealt}.")
        memory.metric("Memory at the peak", size(found["memory_mb"]), help="Estimated; the parts below add up to it.")
        memory.caption(", ".join(f"{NAMES.get(name, name)} {size(value)}" for name, value in found["memory_parts_mb"].items()) + ".")
        time.metric("Time", duration(found["seconds"]))
        speed = f"{three(found['tokens_per_second'])} tokens per second, {plain(found['speed_from'])}"
        time.caption(f"{found['rows']:,} rows, {count(found['steps'], 'step')}, {found['tokens']:,} tokens; {speed}.")
        verdict(found)
        st.caption(f"Estimated {day(run.finished_at)} for these settings.")


def verdict(found: dict[str, Any]) -> None:
    """Whether it fits, with what makes it fit or would."""
    said = f"{size(found['memory_mb'])} of the {size(found['available_mb'])} that were free. {plain(found['advice'])}".strip()
    if found["fits"]:
        st.success(f"Fits: {said}", icon=":material/check:")
    else:
        st.warning(f"Does not fit: {said}", icon=":material/error:")


def size(megabytes: float) -> str:
    """MB of 2^20 bytes; GB from 1,024 of them on."""
    return f"{three(megabytes / 1024)} GB" if megabytes >= 1024 else f"{three(megabytes)} MB"
