"""Losses of answer tokens: what training minimises and what perplexity is made of.

loss of a token = -log p(token | prompt, earlier answer tokens), in nats. Only answer positions go through the output layer.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.batches import by_length
from core.data.packing import Packed, pad
from core.data.prompt import Encoded
from core.models.load import BaseModel
from core.models.packed import last_hidden

Mixing = Callable[[list[int]], AbstractContextManager[Any]]
"""Entered around a batch with the indices of its rows: gives each row its own adapter or mix."""

CHUNK_LOGITS = {"cpu": 1 << 23, "mps": 1 << 25, "cuda": 1 << 27}
"""Logits held at a time: answer positions x vocabulary."""

_SHAPES_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")


def weighted_loss(model: Any, batch: Packed, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of weights x losses, to be differentiated, and each answer token's loss in fp32, [answer tokens]."""
    head = model.get_output_embeddings()
    if head.bias is not None or head._forward_hooks or any(getattr(model.config, name, None) for name in _SHAPES_LOGITS):
        losses = F.cross_entropy(_logits(model, batch).float(), batch.targets, reduction="none")
        return (losses * weights).sum(), losses.detach()
    hidden = last_hidden(model, batch).index_select(0, batch.answers)
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    total, losses = _ChunkedLoss.apply(hidden, head.weight, batch.targets, weights, torch.is_grad_enabled())
    return total, losses


def token_losses(model: Any, batch: Packed) -> Tensor:
    """Loss of each answer token in fp32, [answer tokens], without gradients."""
    with torch.no_grad():
        return weighted_loss(model, batch, torch.ones(len(batch.targets), device=batch.targets.device))[1]


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
        batch = pad([examples[i] for i in indices], [0] * len(indices), base.tokenizer.pad_token_id, base.device)
        with mixing(indices) if mixing else nullcontext():
            losses = token_losses(base.model, batch)
        totals.index_add_(0, torch.tensor(indices)[batch.rows.cpu()], losses.double().cpu())
        done += len(indices)
        if progress:
            progress(done)
    return totals.tolist()


def loss_slope(
    base: BaseModel,
    examples: Sequence[Encoded],
    row_weights: Sequence[float],
    mixing: Mixing,
    of: Tensor,
    tokens_per_batch: int = 1024,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[float], Tensor]:
    """Total loss of each row's answer, in nats, and the gradient of sum(row_weights x losses) by `of`, a leaf that `mixing` mixes by."""
    totals = torch.zeros(len(examples), dtype=torch.float64)
    slope = torch.zeros_like(of)
    weights = torch.tensor(row_weights, device=base.device, dtype=torch.float32)
    done = 0
    for indices in by_length([len(example) for example in examples], tokens_per_batch):
        batch = pad([examples[i] for i in indices], [0] * len(indices), base.tokenizer.pad_token_id, base.device)
        rows = torch.tensor(indices, device=base.device)[batch.rows]
        with torch.enable_grad(), mixing(indices):
            total, losses = weighted_loss(base.model, batch, weights[rows])
            slope += torch.autograd.grad(total, of)[0]
        totals.index_add_(0, rows.cpu(), losses.double().cpu())
        done += len(indices)
        if progress:
            progress(done)
    return totals.tolist(), slope


def _logits(model: Any, batch: Packed) -> Tensor:
    """[answer tokens, vocabulary], by the model's own way from states to logits."""
    packed = {} if batch.layout is None else {"position_ids": batch.positions, "layout": batch.layout}
    logits: Tensor = model(input_ids=batch.ids, use_cache=False, **packed).logits
    return logits.flatten(0, 1).index_select(0, batch.answers)


class _ChunkedLoss(torch.autograd.Function):
    """Cross-entropy of `hidden @ head.T`, some positions at a time, with the gradient taken at once (Hsu et al. 2024, arXiv:2410.10989).

    The logits of all positions are never held together: a chunk's are turned into its loss and its gradient and dropped. Under autocast
    the products run in its precision; the gradient of an fp32 output layer adds up in fp32.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, differentiate: bool) -> tuple[Tensor, Tensor]:
        weight = head.to(hidden.dtype)
        losses = torch.empty(len(targets), device=hidden.device)
        d_hidden = torch.empty_like(hidden) if differentiate else None
        d_head = torch.zeros_like(head) if differentiate and head.requires_grad else None
        rows = max(1, CHUNK_LOGITS[hidden.device.type] // len(head))
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            logits = (hidden[part] @ weight.T).float()
            target = targets[part, None]
            normaliser = logits.logsumexp(1, keepdim=True)
            losses[part] = (normaliser - logits.gather(1, target))[:, 0]
            if d_hidden is not None:
                slope = logits.sub_(normaliser).exp_().scatter_add_(1, target, torch.full_like(target, -1, dtype=logits.dtype))
                slope = slope.mul_(weights[part, None]).to(weight.dtype)
                torch.mm(slope, weight, out=d_hidden[part])
                if d_head is not None:
                    d_head.add_(slope.T @ hidden[part])
        ctx.save_for_backward(d_hidden, d_head)
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, d_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_head = ctx.saved_tensors
        return d_hidden * d_total.to(d_hidden.dtype), None if d_head is None else d_head * d_total.to(d_head.dtype), None, None, None
