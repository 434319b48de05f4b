"""The curves of a training run as TensorBoard events and as a PNG."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def write_tensorboard(steps: "pd.DataFrame", folder: Path) -> Path:
    """One TensorBoard run per adapter, with the scalars of steps.csv."""
    from torch.utils.tensorboard import SummaryWriter

    for adapter, own in steps.groupby("adapter"):
        with SummaryWriter(str(folder / str(adapter))) as writer:
            for scalar in ("loss", "validation_loss", "grad_norm", "learning_rate", "tokens_per_second"):
                for step, value in own[["step", scalar]].dropna().itertuples(index=False):
                    writer.add_scalar(scalar, value, step)
    return folder


def write_png(steps: "pd.DataFrame", file: Path) -> Path:
    """Small multiples, one adapter each on common axes: loss per step, and validation loss where it was measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    adapters = list(dict.fromkeys(steps["adapter"]))[:24]
    across = min(4, len(adapters))
    down = -(-len(adapters) // across)
    figure = Figure(figsize=(3.2 * across, 2.4 * down), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for panel in panels.flat[len(adapters) :]:
        panel.set_visible(False)
    for adapter, panel in zip(adapters, panels.flat, strict=False):
        own = steps[steps["adapter"] == adapter]
        measured = own.dropna(subset=["validation_loss"])
        panel.plot(own["step"], own["loss"], color="#8a8f98", linewidth=1, label="loss")
        panel.plot(measured["step"], measured["validation_loss"], color="#0072B2", marker="o", markersize=3, label="validation loss")
        panel.set_title(adapter, fontsize=9)
    panels[0, 0].legend(fontsize=7)
    figure.supxlabel("step", fontsize=9)
    figure.supylabel("nats per answer token", fontsize=9)
    figure.savefig(file, dpi=130)
    return file
