"""What the guide's interactive parts find, in sentences."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from core import lora_size
from core.lora_size import Plan
from core.singular_values import Spectrum
from core.train import METHODS
from core.wording import count, listed, percent, three

MB, GB = 1 << 20, 1 << 30


def size(plan: Plan, model: str) -> str:
    """How much trains, how large the file is, and what training takes beside full fine-tuning."""
    total, full = (sum(lora_size.memory(each).values()) for each in (plan, replace(plan, method="full")))
    name = METHODS[plan.method].label
    if plan.method == "full":
        return (
            f"{name} trains all {plan.shape.parameters:,} numbers of {model}. It saves a whole model of {stored(plan)} "
            f"and takes about {gigabytes(total)} to train."
        )
    targets = listed([target.removesuffix("_proj") for target in plan.targets])
    return (
        f"{name} at rank {plan.r} on {targets} of {model} trains {lora_size.trained(plan):,} numbers, "
        f"{three(100 * lora_size.share(plan))} % of the model. The adapter takes {stored(plan)} on disk, "
        f"and training about {gigabytes(total)}, against {gigabytes(full)} for full fine-tuning."
    )


def stored(plan: Plan) -> str:
    """Size on disk as `dtype=fp32` saves it."""
    return f"{three(lora_size.on_disk(plan) / 1e6)} MB"


def gigabytes(size: float) -> str:
    """Bytes as GB (2^30), or as MB (2^20) below one."""
    return f"{three(size / GB)} GB" if size >= GB else f"{three(size / MB)} MB"


def directions(adapter: str, module: str, found: Sequence[Spectrum]) -> str:
    """How many directions an adapter uses, and where it changed most."""
    ranks = [each.effective_rank for each in found]
    if not any(ranks):
        return f"{adapter}, {module}: nothing has changed here, all singular values are 0."
    most = max(found, key=lambda each: float((each.values**2).sum()))
    held = median(each.first_share for each in found)
    span = f", from {three(min(ranks))} to {three(max(ranks))} over {count(len(found), 'layer')}" if len(found) > 1 else ""
    return (
        f"{adapter}, {module}: of {len(most.values)} directions about {three(median(ranks))} matter (median effective rank{span}). "
        f"The strongest holds {percent(held)} of the squared change. The change is largest in {most.layer.removeprefix('model.')}."
    )
