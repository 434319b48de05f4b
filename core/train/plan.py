"""The verb `plan`: what a training run would take, before anything is loaded. `python -m core train --dry-run` is the same."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from core import runs
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.models.load import load_tokenizer
from core.runs import Run, Workspace
from core.train.cohort import Member, gather
from core.train.estimate import Choice, Estimate, Estimator
from core.train.footprint import counted
from core.train.speed import matrix_peak
from core.wording import count, duration

SHARE_OF_PEAK = 0.5
"""Of the matrix-product peak, where no earlier run tells."""
SAME_SPEED = ("base_model", "method", "device", "precision", "quantization")
"""Fields in which an earlier run must agree to tell the speed."""


def run(config: TrainConfig, workspace: Workspace) -> dict[str, Any]:
    """Say what training `config` takes: parameters, rows, steps, memory and time. Nothing is trained or written but this run."""
    prompter = Prompter(load_tokenizer(config.base_model), config.system_prompt, config.max_seq_length)
    members, notes = gather(config, read(config), prompter)
    for note in [*prompter.notes(), *notes]:
        workspace.say(note)
    found = _size(members)
    workspace.say(
        f"{count(found['rows'], 'row')}, {count(found['steps'], 'step')}: "
        f"{found['tokens']:,} tokens, {found['answer_tokens']:,} of them in answers."
    )
    estimator = Estimator(config, members)
    parameters = _parameters(estimator)
    workspace.say(_parameters_line(parameters, len(members)))
    choice = estimator.choice()
    estimate = estimator.advised(choice)
    for sentence in _memory_lines(estimate, choice, len(members)):
        workspace.say(sentence)
    speed, source = _speed(estimator, found)
    seconds = found["tokens"] / speed
    workspace.say(f"Expected: {duration(seconds)} at {speed:,.0f} tokens/s, {source}.")
    return (
        parameters
        | found
        | {"adapters": len(members), "names": [member.name for member in members]}
        | {"passes": -(-len(members) // choice.adapters_per_pass), **asdict(choice)}
        | {"memory_mb": estimate.total_mb, "memory_parts_mb": estimate.parts_mb, "available_mb": estimate.available_mb}
        | {"fits": estimate.fits, "advice": estimate.advice}
        | {"seconds": seconds, "tokens_per_second": speed, "speed_from": source}
    )
