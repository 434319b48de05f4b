"""Adapters, weights and a strategy into one adapter's factors, layer by layer."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from core.adapter import Factor
from core.config import MergeConfig
from core.errors import UserError
from core.merge import STRATEGIES, lowrank
from core.merge.layer import Layer
from core.merge.lowrank import Cut
from core.merge.parents import Parent, apart, by_layer, takes_part
from core.registry import lookup

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
ROUNDING = 1e-12
"""A squared norm below this share of the votes' may be rounding alone."""
Strategy = Callable[[Layer, MergeConfig], Factor | Tensor]


@dataclass(frozen=True)
class Combined:
    """What a strategy made of one layer."""

    factor: Factor
    energy_kept: float
    """Share of the strategy's own result D that is left at the merge's rank: 1 - ||D - BA||^2 / ||D||^2; 1 where nothing was cut."""


def combine(parents: Sequence[Parent], config: MergeConfig, progress: Callable[..., None] = lambda *_: None) -> dict[str, Combined]:
    """Apply `config.strategy` to every layer. An adapter that lacks a layer contributes nothing to it.

    Raises UserError where a delta would leave fp32's range, and where density leaves nothing of any delta.
    """
    parents = [parent for parent in parents if takes_part(config, parent.weight)]
    layers = by_layer(parents)
    one = partial(_combine, _strategy(config, parents), config)
    combined = {}
    with one_thread_each() as pool:
        for done, (layer, result) in enumerate(zip(layers, pool.map(one, layers), strict=True), 1):
            combined[layer.name] = result
            progress(done, len(layers), "layers", layer.name)
    _refuse_nothing(config, layers, combined)
    return combined


def rounded(factor: Factor, dtype: str, layer: str) -> Factor:
    """As a folder of this precision holds it, read again. Raises UserError where that holds no such numbers."""
    made = Factor(factor.A.to(DTYPES[dtype]).float(), factor.B.to(DTYPES[dtype]).float(), factor.scale)
    if not (made.A.isfinite().all() and made.B.isfinite().all()):
        raise _beyond(layer, dtype)
    return made


def _strategy(config: MergeConfig, parents: Sequence[Parent]) -> Strategy:
    if apart(config):
        from core.merge import peft_space  # peft takes seconds to import

        return peft_space.combiner(config, parents)
    strategy: Strategy = lookup(STRATEGIES, "merge strategy", config.strategy).load()
    return strategy


def _combine(strategy: Strategy, config: MergeConfig, layer: Layer) -> Combined:
    """One layer, at the merge's rank, with numbers that fp32 holds."""
    try:
        made = _at_rank(strategy(layer, config), config, layer)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined] # what it decomposes is infinite
        raise _beyond(layer.name, "fp32") from None
    if not _bound(made) <= torch.finfo(torch.float32).max:
        raise _beyond(layer.name, "fp32")
    return Combined(made, made.energy_kept if isinstance(made, Cut) else 1.0)


def _at_rank(made: Factor | Tensor, config: MergeConfig, layer: Layer) -> Factor:
    rank = min(config.rank or layer.total_rank, *layer.shape)
    if isinstance(made, Tensor):
        return lowrank.refactor(made, rank)
    return lowrank.truncate(made, rank) if config.rank and made.rank > rank else made


def _bound(factor: Factor) -> float:
    """No entry of A, B and s B A is larger; NaN where one is."""
    A, B = float(factor.A.double().norm()), float(factor.B.double().norm())
    return max(A, B, A * B * abs(factor.scale)) if math.isfinite(A + B) else math.nan


def _beyond(layer: str, dtype: str) -> UserError:
    return UserError(
        f"The merge's delta of layer {layer} would hold numbers beyond what {dtype} holds ({torch.finfo(DTYPES[dtype]).max:.2g}), "
        "because weights or adapters are too large. Choose smaller weights."
    )


def _refuse_nothing(config: MergeConfig, layers: Sequence[Layer], combined: Mapping[str, Combined]) -> None:
    """A density so small that no entry is left makes the base model, as weights of 0 do. Deltas that cancel are another matter."""
    if config.density in (None, 1) or any(bool(each.factor.A.any() and each.factor.B.any()) for each in combined.values()):
        return
    for layer in layers:
        votes = [lowrank.weighted_sum([factor], [weight]) for factor, weight in zip(layer.factors, layer.weights, strict=True)]
        exact = lowrank.squared_norm(lowrank.weighted_sum(layer.factors, layer.weights))
        if exact > ROUNDING * sum(map(lowrank.squared_norm, votes)):
            raise UserError(
                f"density={config.density:g} keeps no entry of any delta, so the merge would be the base model. Choose a larger density."
            )


@contextmanager
def one_thread_each() -> Iterator[Any]:
    """A pool with as many workers as torch has threads, each of whose products run on one thread: the same bits at any number."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)  # new threads start with the number that was set last
