"""Losses of answer tokens: what training minimises and what perplexity is made of.

loss of a token = -log p(token | prompt, earlier answer tokens), in nats. Only answer positions go through the output layer.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.batches import IGNORED, Batch, by_length, collate
from core.data.prompt import Encoded
from core.models.load import BaseModel

Mixing = Callable[[list[int]], AbstractContextManager[Any]]
"""Entered around a batch with the indices of its rows: gives each row its own adapter or mix."""

_SHAPES_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")


def token_losses(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss of each answer token in fp32, and the row it stands in; both [answer tokens of the batch]."""
    answers = batch.targets != IGNORED
    if any(getattr(model.config, name, None) for name in _SHAPES_LOGITS):
        logits = model(input_ids=batch.ids, use_cache=False).logits[answers]
    else:
        hidden = model.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state
        logits = model.get_output_embeddings()(hidden[answers])
    losses = F.cross_entropy(logits.float(), batch.targets[answers], reduction="none")
    return losses, answers.nonzero()[:, 0]


@torch.no_grad()
def row_losses(
    base: BaseModel,
    examples: Sequence[Encoded],
    mixing: Mixing | None = None,
    tokens_per_batch: int = 2048,
    progress: Callable[[int], None] | None = None,
) -> list[float]:
    """Total loss of each row's answer, in nats, rows batched by length. `progress` hears how many rows are done."""
    totals = torch.zeros(len(examples), dtype=torch.float64)
    done = 0
    for indices in by_length([len(example) for example in examples], tokens_per_batch):
        batch = collate([examples[i] for i in indices], base.tokenizer.pad_token_id, base.device)
        with mixing(indices) if mixing else nullcontext():
            losses, rows = token_losses(base.model, batch)
        totals.index_add_(0, torch.tensor(indices)[rows.cpu()], losses.double().cpu())
        done += len(indices)
        if progress:
            progress(done)
    return totals.tolist()
