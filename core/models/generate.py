"""Greedy answers to many prompts at once, each row with its own adapter or mix."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from core.errors import UserError
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


@torch.no_grad()
def generate(
    base: BaseModel,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    mixing: Mixing | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Generation]:
    """The most probable token at each step, until an end token. Answers come in the order of the prompts.

    Prompts of like length share a batch, so little is padded; a finished row leaves its batch at once.
    `progress` hears how many answers are done. Raises UserError when a batch doesn't fit into memory.
    """
    mixing = mixing or (lambda rows: nullcontext())
    ends = end_tokens(base)
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    answers: dict[int, list[int]] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        try:
            for row, tokens in _batch(base, prompts, rows, max_new_tokens, ends, mixing):
                answers[row] = tokens
                if progress:
                    progress(len(answers))
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


def _batch(
    base: BaseModel, prompts: Sequence[list[int]], rows: list[int], max_new_tokens: int, ends: frozenset[int], mixing: Mixing
) -> Iterator[tuple[int, list[int]]]:
    """Yields each row's index and answer, end token included, when it is finished."""
    ids, mask = _left_padded(base, [prompts[row] for row in rows])
    cache = DynamicCache(config=base.model.config)
    made: dict[int, list[int]] = {row: [] for row in rows}
    while rows:
        with mixing(rows):
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            logits = base.model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1).logits
        chosen = logits[:, -1].float().argmax(-1)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            made[row].append(token)
        live = [i for i, row in enumerate(rows) if made[row][-1] not in ends and len(made[row]) < max_new_tokens]
        finished = [row for i, row in enumerate(rows) if i not in set(live)]
        if finished:
            kept = torch.tensor(live, device=base.device, dtype=torch.long)
            cache.batch_select_indices(kept)
            chosen, mask = chosen[kept], mask[kept]
            rows = [rows[i] for i in live]
        ids = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
        yield from ((row, made[row]) for row in finished)


def _left_padded(base: BaseModel, prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both [rows, longest prompt]."""
    longest = max(len(prompt) for prompt in prompts)
    pad = base.tokenizer.pad_token_id
    ids = [[pad] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=base.device), torch.tensor(mask, device=base.device)


def _generation(base: BaseModel, tokens: list[int], ends: frozenset[int]) -> Generation:
    stopped = tokens[-1] in ends
    tokens = tokens[:-1] if stopped else tokens
    return Generation(base.tokenizer.decode(tokens, skip_special_tokens=True).strip(), tokens, "stop" if stopped else "length")
