"""The adapter bank: K low-rank adapters stacked on one frozen base model, with mixing weights over them.

Each target layer W gains, for a row of a batch with weights w_1 ... w_K,

    y = W x + sum_k  w_k s_k B_k A_k x

so the base (all weights 0), every adapter (one-hot) and every weighted sum answer side by side in one batch, and the exact merge of
adapters needs no merging. Ranks are zero-padded; a layer that an adapter lacks is all zero there.
Adapters that still train stand in `core/train/training_bank.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.adapter import Adapter, Factor
from core.errors import UserError

_QUERIES = ("q_proj", "q_a_proj", "qkv_proj", "query_key_value", "Wqkv", "c_attn")
"""What architectures call the layer that makes the queries, alone or with keys and values."""


@dataclass(frozen=True)
class Stack:
    """The factors of one layer for all adapters."""

    A: Tensor
    """[K, in, r]"""
    B: Tensor
    """[K, r, out]"""
    scale: Tensor
    """[K]"""
    ranks: tuple[int, ...]
    """Rank of each adapter in this layer; the rest up to r is padding. 0: absent."""


class AdapterBank:
    """K adapters on one model; hooks on the target layers add what the current mixing asks for."""

    def __init__(self, model: nn.Module, names: Sequence[str], stacks: Mapping[str, Stack]) -> None:
        self.names = list(names)
        self.stacks = dict(stacks)
        self._weights: Tensor | None = None
        layers = dict(model.named_modules())
        self._hooks = [layers[layer].register_forward_hook(self._hook(stack)) for layer, stack in self.stacks.items()]

    @classmethod
    def load(cls, model: Any, adapters: Sequence[Adapter]) -> "AdapterBank":
        """A bank of finished adapters, in the model's compute precision."""
        modules = dict(model.named_modules())
        stacks = {}
        for layer in sorted({layer for adapter in adapters for layer in adapter.factors}):
            for adapter in adapters:
                _check_fit(adapter, layer, modules.get(layer))
            module = modules[layer]
            stacks[layer] = _stack([adapter.factors.get(layer) for adapter in adapters], module, model.dtype)
        return cls(model, [adapter.name for adapter in adapters], stacks)

    @contextmanager
    def mixing(self, weights: Tensor) -> Iterator[None]:
        """Within: each row of a batch is answered with its weights, [rows, K] or [K] for all rows; 0 is off."""
        self._weights = weights
        try:
            yield
        finally:
            self._weights = None

    def one_hot(self, name: str) -> Tensor:
        """The weights, [K], of one adapter alone; `base` is all zero."""
        return torch.tensor([float(each == name) for each in self.names])

    def factors(self, index: int) -> dict[str, Factor]:
        """One adapter's factors by layer, padding removed, as PEFT keeps them (A [r, in], B [out, r])."""
        found = {}
        for layer, stack in self.stacks.items():
            if rank := stack.ranks[index]:
                A, B = stack.A.detach()[index, :, :rank], stack.B.detach()[index, :rank]
                found[layer] = Factor(A.T.float().cpu().contiguous(), B.T.float().cpu().contiguous(), float(stack.scale[index]))
        return found

    def detach(self) -> None:
        """Take the bank off its model."""
        for hook in self._hooks:
            hook.remove()

    def _hook(self, stack: Stack) -> Any:
        def add_deltas(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if self._weights is not None:
                return output + _weighted(stack, inputs[0], self._weights)
            return output

        return add_deltas


def target_layers(model: Any, target_modules: Sequence[str]) -> dict[str, Any]:
    """The linear layers whose last name is among `target_modules`.

    'auto': those of the attention, as the architecture names them; 'all-linear': all but the output layer.
    """
    head = model.get_output_embeddings()
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head}
    kinds = sorted({name.rpartition(".")[2] for name in linear})
    if not kinds:
        raise UserError(
            f"An adapter stands beside linear layers (torch's nn.Linear), and a base model of type '{model.config.model_type}' has none "
            "but its output layer. Choose another base_model, or method=full."
        )
    words = {"all-linear": kinds, "auto": _attention_projections(linear) if "auto" in target_modules else []}
    wanted = [kind for word in target_modules for kind in words.get(word, [word])]
    for kind in wanted:
        if kind not in kinds:
            raise UserError(f"The base model has no linear layer called '{kind}' in target_modules. It has: {', '.join(kinds)}.")
    return {name: module for name, module in linear.items() if name.rpartition(".")[2] in wanted}


def _attention_projections(linear: Iterable[str]) -> list[str]:
    """Last names of the layers beside the query's, where no layer elsewhere has the same: q_proj, k_proj, v_proj, o_proj in a Llama."""
    names = [name.rpartition(".") for name in linear]
    attention = {block for block, _, kind in names if kind in _QUERIES}
    found = sorted({kind for block, _, kind in names if block in attention} - {kind for block, _, kind in names if block not in attention})
    if not found:
        others = ", ".join(sorted({kind for _, _, kind in names}))
        raise UserError(f"target_modules=auto finds no attention layers in this base model. Name some of its linear layers: {others}.")
    return found


def _weighted(stack: Stack, x: Tensor, weights: Tensor) -> Tensor:
    """x [rows, tokens, in] -> [rows, tokens, out], each row by its weights; the adapters stand side by side in two products."""
    adapters, inputs, rank = stack.A.shape
    shares = (weights.to(x.device) * stack.scale).to(x.dtype)
    inner = x @ stack.A.transpose(0, 1).reshape(inputs, adapters * rank).to(x.dtype)
    inner = inner.unflatten(-1, (adapters, rank)) * (shares[:, None, :, None] if shares.dim() == 2 else shares[:, None])
    return inner.flatten(-2) @ stack.B.flatten(0, 1).to(x.dtype)


def _stack(factors: Sequence[Factor | None], module: Any, dtype: torch.dtype) -> Stack:
    ranks = tuple(factor.rank if factor else 0 for factor in factors)
    A = torch.zeros(len(factors), module.in_features, max(ranks))
    B = torch.zeros(len(factors), max(ranks), module.out_features)
    for index, factor in enumerate(factors):
        if factor:
            A[index, :, : factor.rank] = factor.A.T
            B[index, : factor.rank] = factor.B.T
    scale = torch.tensor([factor.scale if factor else 0.0 for factor in factors])
    device = module.weight.device
    return Stack(A.to(device, dtype), B.to(device, dtype), scale.to(device), ranks)


def _check_fit(adapter: Adapter, layer: str, module: Any) -> None:
    factor = adapter.factors.get(layer)
    if factor is None:
        return
    if not isinstance(module, nn.Linear):
        raise UserError(
            f"Adapter '{adapter.name}' changes layer {layer}, which this base model does not have. It was trained on another base."
        )
    needs, has = (factor.A.shape[1], factor.B.shape[0]), (module.in_features, module.out_features)
    if needs != has:
        raise UserError(
            f"Adapter '{adapter.name}' does not fit this base model: at {layer} it maps {needs[0]} to {needs[1]} values, "
            f"the base {has[0]} to {has[1]}. It was trained on another base; use that one."
        )
