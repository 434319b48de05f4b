"""The adapter bank: K low-rank adapters side by side on one frozen base model, with mixing weights over them.

Each target layer W gains, for a row of a batch with weights w_1 ... w_K,

    y = W x + sum_k  w_k s_k B_k A_k x

so the base (all weights 0), every adapter (one-hot) and every weighted sum answer side by side in one batch, and the exact merge of
adapters needs no merging. A router may give every token of every layer weights of its own.
Adapters that still train stand in `core/train/training_bank.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.adapter import Adapter, Factor
from core.errors import UserError

Router = Callable[[str, Tensor], Tensor]
"""Weights for each token of a layer: (its name, x [rows, tokens, in]) -> [rows, tokens, K]."""

_QUERIES = ("q_proj", "q_a_proj", "qkv_proj", "query_key_value", "Wqkv", "c_attn")
"""What architectures call the layer that makes the queries, alone or with keys and values."""


@dataclass(frozen=True)
class Stack:
    """The factors of one layer for all adapters, side by side: two products serve them all. R is the sum of their ranks here."""

    A: Tensor
    """[in, R]"""
    B: Tensor
    """[R, out], with each adapter's scale folded in"""
    owners: Tensor
    """[R]: the adapter of each column of A; one that lacks the layer owns none."""


class AdapterBank:
    """K adapters on one model; hooks on the target layers add what the current mixing asks for."""

    def __init__(self, model: nn.Module, names: Sequence[str], stacks: Mapping[str, Stack]) -> None:
        self.names = list(names)
        self.stacks = dict(stacks)
        self._weights: Tensor | Router | None = None
        self._hooks = [model.get_submodule(layer).register_forward_hook(self._hook(layer, stack)) for layer, stack in self.stacks.items()]

    @classmethod
    def load(cls, model: Any, adapters: Sequence[Adapter]) -> "AdapterBank":
        """A bank of finished adapters, in the model's compute precision."""
        for adapter in adapters:
            check_fit(model, adapter)
        modules = dict(model.named_modules())
        stacks = {}
        for layer in sorted({layer for adapter in adapters for layer in adapter.factors}):
            stacks[layer] = _stack([adapter.factors.get(layer) for adapter in adapters], modules[layer].weight.device, model.dtype)
        return cls(model, [adapter.name for adapter in adapters], stacks)

    @contextmanager
    def mixing(self, weights: Tensor | Router) -> Iterator[None]:
        """Within: rows are answered with these weights: [K] for all, [rows, K], [rows, tokens, K], or a router's. 0 is off."""
        self._weights = weights
        try:
            yield
        finally:
            self._weights = None

    def one_hot(self, name: str) -> Tensor:
        """The weights, [K], of one adapter alone; `base` is all zero."""
        return torch.tensor([float(each == name) for each in self.names])

    def detach(self) -> None:
        """Take the bank off its model."""
        for hook in self._hooks:
            hook.remove()

    def _hook(self, layer: str, stack: Stack) -> Any:
        def add_deltas(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if self._weights is None:
                return output
            x = inputs[0]
            weights = self._weights if isinstance(self._weights, Tensor) else self._weights(layer, x)
            return output + _weighted(stack, x, weights)

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


def check_fit(model: Any, adapter: Adapter) -> None:
    """Raise UserError when an adapter changes layers that the model doesn't have, or has in another shape."""
    modules = dict(model.named_modules())
    for layer, factor in adapter.factors.items():
        _check_layer(adapter, layer, factor, modules.get(layer))


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
    """x [rows, tokens, in] -> [rows, tokens, out]."""
    shares = weights.to(x.device, stack.B.dtype)[..., stack.owners]
    inner = x.to(stack.A.dtype) @ stack.A
    return ((inner * (shares[:, None] if shares.dim() == 2 else shares)) @ stack.B).to(x.dtype)


def _stack(factors: Sequence[Factor | None], device: torch.device, dtype: torch.dtype) -> Stack:
    having = [(place, factor) for place, factor in enumerate(factors) if factor]
    A = torch.cat([factor.A.T for _, factor in having], dim=1)
    B = torch.cat([factor.B.T * factor.scale for _, factor in having])
    owners = torch.tensor([place for place, factor in having for _ in range(factor.rank)])
    return Stack(A.to(device, dtype), B.to(device, dtype), owners.to(device))


def _check_layer(adapter: Adapter, layer: str, factor: Factor, module: Any) -> None:
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
