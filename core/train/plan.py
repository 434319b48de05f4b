"""The verb `plan`: what a training run would take, before anything is loaded. `python -m core train --dry-run` is the same."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from core import runs
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.models.load import load_tokenizer
from core.train.cohort import Member, gather
from core.train.estimate import Choice, Estimate, Estimator
from core.train.footprint import counted
from core.train.speed import matrix_peak
from core.train.token_store import lengths
from core.wording import count, duration
from core.workspace import Workspace

SHARE_OF_PEAK = 0.5
"""Of the matrix-product peak, where no earlier run tells."""
SAME_SPEED = ("base_model", "method", "device", "precision", "quantization")
"""Fields in which an earlier run must agree to tell the speed."""


def run(config: TrainConfig, workspace: Workspace) -> dict[str, Any]:
    """Say what training `config` takes: parameters, rows, steps, memory and time. Nothing is trained or written but this run."""
    prompter = Prompter(load_tokenizer(config.base_model), config.system_prompt, config.max_seq_length)
    rows = read(config, lambda done, total: workspace.progress(done, total, "rows", "reading"))
    members, notes = gather(config, rows, prompter, lambda done, total: workspace.progress(done, total, "rows", "making tokens"))
    for note in [*prompter.notes(), *notes]:
        workspace.say(note)
    work = _work(members)
    workspace.say(
        f"{count(work['rows'], 'row')}, {count(work['steps'], 'step')}: "
        f"{work['tokens']:,} tokens, {work['answer_tokens']:,} of them in answers."
    )
    estimator = Estimator(config, members)
    trained, weights, flops = counted(config, estimator.setting.model_config, work["tokens"], work["answer_tokens"])
    total = weights if config.method == "full" else weights + trained
    workspace.say(f"trainable params: {trained:,} || all params: {total:,} || trainable%: {100 * trained / total:.4f}")
    choice = estimator.choice()
    estimate = estimator.advised(choice)
    workspace.say(_memory(estimate, choice, len(members)))
    speed, source = _speed(estimator, work["tokens"], flops)
    workspace.say(f"Expected: {duration(work['tokens'] / speed)} at {speed:,.0f} tokens/s, {source}.")
    return (
        {"trainable_parameters": trained, "all_parameters": total}
        | work
        | {"adapters": len(members), "names": [member.name for member in members]}
        | {"passes": -(-len(members) // choice.adapters_per_pass), **asdict(choice)}
        | {"memory_mb": estimate.total_mb, "memory_parts_mb": estimate.parts_mb, "available_mb": estimate.available_mb}
        | {"fits": estimate.fits, "advice": estimate.advice}
        | {"seconds": work["tokens"] / speed, "tokens_per_second": speed, "speed_from": source}
    )


def _work(members: Sequence[Member]) -> dict[str, int]:
    """What all optimiser steps go through."""
    passes = [member.total_steps / member.steps_per_epoch for member in members]
    counts = [lengths(member.train).sum(axis=0).tolist() for member in members]
    tokens = sum(epochs * (prompts + answers) for epochs, (prompts, answers) in zip(passes, counts, strict=True))
    answers = sum(epochs * answers for epochs, (_, answers) in zip(passes, counts, strict=True))
    rows, steps = sum(len(member.train) for member in members), sum(member.total_steps for member in members)
    return {"rows": rows, "steps": steps, "tokens": round(tokens), "answer_tokens": round(answers)}


def _memory(estimate: Estimate, choice: Choice, members: int) -> str:
    """One line on memory: the peak by parts, and whether it fits."""
    parts = ", ".join(f"{name} {value:,.0f}" for name, value in estimate.parts_mb.items())
    verdict = "fits" if estimate.fits else "does not fit"
    way = (
        f"micro-batches of {choice.micro_batch_tokens:,} tokens, {min(choice.adapters_per_pass, members):,} of {members:,} adapters at once"
    )
    return (
        f"Memory: {estimate.total_mb:,.0f} MB at the peak ({parts}) of {estimate.available_mb:,.0f} MB that are free: it {verdict}, "
        f"with {way}. {estimate.advice}".strip()
    )


def _speed(estimator: Estimator, tokens: int, flops: float) -> tuple[float, str]:
    """Tokens per second, and where the figure comes from."""
    wanted = estimator.config.model_dump(mode="json")
    for earlier in runs.listing("train", "done"):
        if earlier.outputs.get("tokens_per_second") and all(earlier.config.get(name) == wanted[name] for name in SAME_SPEED):
            return float(earlier.outputs["tokens_per_second"]), "as the last run of this kind here"
    peak = matrix_peak(estimator.device, estimator.setting.dtype)
    return SHARE_OF_PEAK * peak * tokens / flops, f"if it reaches {SHARE_OF_PEAK:.0%} of this machine's matrix-product peak"
