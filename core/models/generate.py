"""Answers to many prompts at once, greedy or drawn, each row with its own adapter or mix."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from random import Random

import torch

from core.errors import UserError
from core.models.choosing import GREEDY, Sampling, choose
from core.models.decoding import Decoding
from core.models.load import BaseModel
from core.models.loss import Mixing


@dataclass(frozen=True)
class Generation:
    """One answer."""

    text: str
    tokens: list[int]
    """Without the end token."""
    finish: str
    """stop, or length when it was cut at `max_new_tokens`."""


def generate(
    base: BaseModel,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    mixing: Mixing | None = None,
    samplings: Sequence[Sampling] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Generation]:
    """The most probable token at each step, or as a prompt's sampling draws it, until an end token. In the order of the prompts.

    Prompts of like length share a batch, so little is padded; a finished row leaves its batch at once.
    `progress` hears how many answers are done, those under way counted by their share of `max_new_tokens`.
    Raises UserError when a batch doesn't fit into memory.
    """
    mixing = mixing or (lambda rows: nullcontext())
    samplings = samplings or [GREEDY] * len(prompts)
    ends = end_tokens(base)
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    answers: dict[int, list[int]] = {}
    told = 0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        try:
            for finished, under_way in _steps(base, prompts, rows, max_new_tokens, ends, mixing, samplings):
                answers |= finished
                done = int(len(answers) + under_way / max_new_tokens)
                if progress and done > told:
                    progress(told := done)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{len(rows)} answers side by side don't fit into the memory of {base.device}. Choose a batch_size below {batch_size}."
            ) from error
    return [_generation(base, answers[i], ends) for i in range(len(prompts))]


def end_tokens(base: BaseModel) -> frozenset[int]:
    """Tokens that end an answer: the tokenizer's, and those that the model's generation_config.json names."""
    named = base.model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return frozenset(token for token in [base.tokenizer.eos_token_id, *listed] if token is not None)


def _steps(
    base: BaseModel,
    prompts: Sequence[list[int]],
    rows: list[int],
    max_new_tokens: int,
    ends: frozenset[int],
    mixing: Mixing,
    samplings: Sequence[Sampling],
) -> Iterator[tuple[dict[int, list[int]], int]]:
    """One step of a batch each: the answers that it finished, by row, end token included; and the tokens of those still under way."""
    decoding = Decoding(base)
    made: dict[int, list[int]] = {row: [] for row in rows}
    dice = {row: Random(samplings[row].seed) for row in rows}
    logits = decoding.enter(rows, [prompts[row] for row in rows], mixing)
    while True:
        for tokens, token in zip(made.values(), choose(logits, [samplings[row] for row in made], [dice[row] for row in made]), strict=True):
            tokens.append(token)
        finished = {row: tokens for row, tokens in made.items() if tokens[-1] in ends or len(tokens) == max_new_tokens}
        decoding.leave(finished)
        made = {row: made[row] for row in decoding.rows}
        yield finished, sum(map(len, made.values()))
        if not made:
            return
        logits = decoding.step([tokens[-1] for tokens in made.values()], mixing(decoding.rows))


def _generation(base: BaseModel, tokens: list[int], ends: frozenset[int]) -> Generation:
    stopped = tokens[-1] in ends
    tokens = tokens[:-1] if stopped else tokens
    return Generation(base.tokenizer.decode(tokens, skip_special_tokens=True).strip(), tokens, "stop" if stopped else "length")
