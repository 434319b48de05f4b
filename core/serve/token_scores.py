"""How probable the tokens of an answer were, and which others were: log-probabilities in nats of the model's own distribution,
before temperature and top_p, as OpenAI and vLLM give them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from core.models.spelling import Spelling


@dataclass(frozen=True)
class Score:
    """One token of an answer."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The most probable tokens at its place, with theirs, the most probable first."""


def scores(logits: Tensor, tokens: Sequence[int], wanted: Sequence[int | None]) -> list[Score | None]:
    """Of each row's chosen token. `logits`: [rows, vocabulary], fp32; `wanted`: how many of the most probable ones, None: nothing."""
    found: list[Score | None] = [None] * len(tokens)
    rows = [row for row, count in enumerate(wanted) if count is not None]
    if not rows:
        return found
    logprobs = logits[rows].log_softmax(-1)
    most = max(count for count in wanted if count is not None)
    top = logprobs.topk(min(max(most, 1), logprobs.shape[-1]))
    chosen = logprobs.gather(-1, torch.tensor([tokens[row] for row in rows], device=logits.device)[:, None])[:, 0].tolist()
    for row, logprob, ids, values in zip(rows, chosen, top.indices.tolist(), top.values.tolist(), strict=True):
        found[row] = Score(tokens[row], logprob, tuple(zip(ids, values, strict=True))[: wanted[row]])
    return found


@dataclass
class Telling:
    """The scores of one answer, told together with the text that their tokens make."""

    told: list[dict[str, Any]] = field(default_factory=list)
    """As events have them: {token: its text, bytes, logprob, top: the most probable ones likewise}."""
    _untold: deque[Score] = field(default_factory=deque)
    _at: int = 0
    """Bytes of the tokens that are told."""

    def add(self, score: Score) -> None:
        """The newest token's; it is told when its text is."""
        self._untold.append(score)

    def up_to(self, text: str, spelling: Spelling, ended: bool, stopped: bool) -> list[dict[str, Any]]:
        """Those that `text`, all that was told of the answer, has now reached. `ended`: nothing follows; `stopped`: a stop text cut it."""
        length, new = len(text.encode("utf-8", "surrogatepass")), []
        while self._untold:
            reached = self._at + len(spelling.bytes(self._untold[0].token))
            if not (self._at < length if stopped else ended or reached <= length):
                break
            new.append(_event(self._untold.popleft(), spelling))
            self._at = reached
        self.told += new
        return new


def _event(score: Score, spelling: Spelling) -> dict[str, Any]:
    return {**_named(score.token, score.logprob, spelling), "top": [_named(token, logprob, spelling) for token, logprob in score.top]}


def _named(token: int, logprob: float, spelling: Spelling) -> dict[str, Any]:
    spelled = spelling.bytes(token)
    return {"token": spelled.decode("utf-8", "replace"), "bytes": list(spelled), "logprob": logprob}
