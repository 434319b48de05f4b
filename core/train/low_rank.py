"""The low-rank product of a cohort: y + scale * x_k A_k B_k, each adapter's own factors on its own stretch of tokens.

One autograd function keeps what the backward pass needs and no more: x only while an A trains (LoRA-FA drops it), and no
intermediate of the size of y.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def add_low_rank(y: Tensor, x: Tensor, A: Sequence[Tensor], B: Sequence[Tensor], sizes: Sequence[int], scale: float) -> Tensor:
    """y + scale * x A B, in place where autograd allows.

    y [..., out] and x [..., in] hold the same tokens; of them `sizes[k]` belong to A[k], [in, r], and B[k], [r, out], in that order.
    A single A or B is common to all. Factors may have another precision than y: they are cast, their gradients are not.
    """
    result: Tensor = _LowRank.apply(y, x, list(sizes), scale, len(A), *A, *B)
    return result


class _LowRank(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, sizes: list[int], scale: float, count: int, *factors: Tensor) -> Tensor:
        ctx.sizes, ctx.scale, ctx.count, ctx.input_dtype = sizes, scale, count, x.dtype
        ctx.dtypes = [factor.dtype for factor in factors]
        flat, result = x.flatten(0, -2).to(y.dtype), y.view(-1, y.shape[-1])
        A, B = _cast(factors[:count], y.dtype), _cast(factors[count:], y.dtype)
        with torch.autocast(y.device.type, enabled=False):
            inner = segment_product(flat, A, sizes)
            _add_segment_product(result, inner, B, sizes, scale)
        needs = ctx.needs_input_grad[5:]
        ctx.save_for_backward(flat if any(needs[:count]) else None, inner if any(needs[count:]) else None, *factors)
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        with torch.autocast(dy.device.type, enabled=False):
            return dy, *_gradients(ctx, dy)


def _gradients(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    """Of x, and after three that have none, of the factors."""
    x, inner, *factors = ctx.saved_tensors
    A, B = _cast(factors[: ctx.count], dy.dtype), _cast(factors[ctx.count :], dy.dtype)
    flat = dy.flatten(0, -2)
    d_inner = segment_product(flat, [b.T for b in B], ctx.sizes).mul_(ctx.scale)
    d_x = None
    if ctx.needs_input_grad[1]:
        d_x = segment_product(d_inner, [a.T for a in A], ctx.sizes).to(ctx.input_dtype).view(*dy.shape[:-1], -1)
    d_A = [None] * len(A) if x is None else segment_outer(x, d_inner, ctx.sizes, len(A))
    d_B = [None] * len(B) if inner is None else segment_outer(inner.mul(ctx.scale), flat, ctx.sizes, len(B))
    d_factors = [None if d is None else d.to(dtype) for d, dtype in zip([*d_A, *d_B], ctx.dtypes, strict=True)]
    return d_x, None, None, None, *d_factors


def segment_product(x: Tensor, matrices: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """x [tokens, in] times matrices[k], [in, out], on its stretch of tokens -> [tokens, out]. A single matrix is common to all."""
    if len(matrices) == 1:
        return x @ matrices[0]
    if _even(sizes):
        return torch.bmm(x.unflatten(0, (len(sizes), -1)), torch.stack(list(matrices))).flatten(0, 1)
    return torch.cat([part @ matrix for part, matrix in zip(x.split(list(sizes)), matrices, strict=True)])


def segment_scale(x: Tensor, vectors: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """x [..., n], each token times the vector [n] of its stretch of tokens, in x's precision. A single vector is common to all."""
    if len(vectors) == 1:
        return (x * vectors[0]).to(x.dtype)
    if _even(sizes):
        scaled = x.view(len(sizes), -1, x.shape[-1]) * torch.stack(list(vectors))[:, None]
    else:
        parts = x.view(-1, x.shape[-1]).split(list(sizes))
        scaled = torch.cat([part * vector for part, vector in zip(parts, vectors, strict=True)])
    return scaled.to(x.dtype).view(x.shape)


def segment_outer(left: Tensor, right: Tensor, sizes: Sequence[int], count: int) -> list[Tensor]:
    """left.T @ right on each stretch of tokens: `count` matrices [in, out]; one means over all tokens."""
    if count == 1:
        return [left.T @ right]
    if _even(sizes):
        pairs = left.unflatten(0, (count, -1)).transpose(1, 2), right.unflatten(0, (count, -1))
        return list(torch.bmm(*pairs).unbind())
    return [part.T @ other for part, other in zip(left.split(list(sizes)), right.split(list(sizes)), strict=True)]


def _add_segment_product(y: Tensor, x: Tensor, matrices: Sequence[Tensor], sizes: Sequence[int], scale: float) -> None:
    if len(matrices) == 1:
        y.addmm_(x, matrices[0], alpha=scale)
    elif _even(sizes):
        shape = (len(sizes), -1)
        y.unflatten(0, shape).baddbmm_(x.unflatten(0, shape), torch.stack(list(matrices)), alpha=scale)
    else:
        for part, other, matrix in zip(y.split(list(sizes)), x.split(list(sizes)), matrices, strict=True):
            part.addmm_(other, matrix, alpha=scale)


def _even(sizes: Sequence[int]) -> bool:
    return len(set(sizes)) == 1


def _cast(factors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    return [factor.to(dtype) for factor in factors]
