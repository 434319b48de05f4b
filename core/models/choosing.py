"""Which token comes next: the most probable one, or one that chance draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

_COLDEST = 1e-5
"""Below this temperature the most probable token has all the probability."""
_FIRST = 1024
"""Tokens that are looked at first for a nucleus; sorting the whole vocabulary costs ten times as much."""


@dataclass(frozen=True)
class Sampling:
    """How tokens of an answer are drawn."""

    temperature: float = 0.0
    """The logits are divided by it. 0: always the most probable token."""
    top_p: float = 1.0
    """Draw among the most probable tokens that have this probability together (nucleus: Holtzman et al. 2020, arXiv:1904.09751)."""
    seed: int = 0
    """The same seed draws the same answer, whatever is answered beside it."""

    @property
    def greedy(self) -> bool:
        """Whether there is nothing to draw."""
        return self.temperature < _COLDEST


GREEDY = Sampling()


def choose(logits: Tensor, samplings: Sequence[Sampling], dice: Sequence[Random]) -> list[int]:
    """The next token of each row. `logits`: [rows, vocabulary], fp32. Each die is thrown once for its row, if the row is drawn."""
    tokens = logits.argmax(-1)
    drawn = [row for row, sampling in enumerate(samplings) if not sampling.greedy]
    if drawn:
        rows = torch.tensor(drawn, device=logits.device)
        tokens[rows] = _drawn(logits[rows], [samplings[row] for row in drawn], [dice[row] for row in drawn])
    return [int(token) for token in tokens.tolist()]


def _drawn(logits: Tensor, samplings: Sequence[Sampling], dice: Sequence[Random]) -> Tensor:
    """[rows]: by the inverse of the cumulative distribution, so one number of the die decides."""
    temperature, top_p, thrown = (
        torch.tensor(values, device=logits.device, dtype=logits.dtype)[:, None]
        for values in (
            [each.temperature for each in samplings],
            [each.top_p for each in samplings],
            [1.0 - die.random() for die in dice],  # above 0, so a token without probability is never met
        )
    )
    probabilities = (logits / temperature).softmax(-1)
    if any(each.top_p < 1 for each in samplings):
        probabilities = _nucleus(probabilities, top_p)
    reached = probabilities.cumsum(-1)
    return torch.searchsorted(reached, thrown * reached[:, -1:])[:, 0]


def _nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """All others at 0. The token that reaches top_p belongs to it, so it is never empty."""
    ordered = probabilities.topk(min(_FIRST, probabilities.shape[-1])).values
    if (ordered.sum(-1, keepdim=True) < top_p).any():
        ordered = probabilities.sort(descending=True).values
    before = ordered.cumsum(-1) - ordered
    kept = (before < top_p).sum(-1, keepdim=True).clamp(min=1)
    return probabilities.where(probabilities >= ordered.gather(-1, kept - 1), 0.0)
