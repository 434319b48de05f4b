"""Adapters, weights and a strategy into one adapter's factors, layer by layer."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from core.adapter import Factor
from core.config import MergeConfig
from core.merge import STRATEGIES, lowrank
from core.merge.layer import Layer
from core.merge.lowrank import Cut
from core.merge.parents import Parent, apart, by_layer, takes_part
from core.registry import lookup

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Strategy = Callable[[Layer, MergeConfig], Factor | Tensor]


@dataclass(frozen=True)
class Combined:
    """What a strategy made of one layer."""

    factor: Factor
    energy_kept: float
    """Share of the strategy's own result D that is left at the merge's rank: 1 - ||D - BA||^2 / ||D||^2; 1 where nothing was cut."""


def combine(parents: Sequence[Parent], config: MergeConfig, progress: Callable[..., None] = lambda *_: None) -> dict[str, Combined]:
    """Apply `config.strategy` to every layer. An adapter that lacks a layer contributes nothing to it."""
    parents = [parent for parent in parents if takes_part(config, parent.weight)]
    layers = by_layer(parents)
    one = partial(_combine, _strategy(config, parents), config)
    combined = {}
    with one_thread_each() as pool:
        for done, (layer, result) in enumerate(zip(layers, pool.map(one, layers), strict=True), 1):
            combined[layer.name] = result
            progress(done, len(layers), "layers", layer.name)
    return combined


def rounded(factor: Factor, dtype: str) -> Factor:
    """As a folder of this precision holds it, read again."""
    return Factor(factor.A.to(DTYPES[dtype]).float(), factor.B.to(DTYPES[dtype]).float(), factor.scale)


def _strategy(config: MergeConfig, parents: Sequence[Parent]) -> Strategy:
    if apart(config):
        from core.merge import peft_space  # peft takes seconds to import

        return peft_space.combiner(config, parents)
    strategy: Strategy = lookup(STRATEGIES, "merge strategy", config.strategy).load()
    return strategy


def _combine(strategy: Strategy, config: MergeConfig, layer: Layer) -> Combined:
    """One layer, at the merge's rank."""
    made = strategy(layer, config)
    rank = min(config.rank or layer.total_rank, *layer.shape)
    if isinstance(made, Tensor):
        made = lowrank.refactor(made, rank)
    elif config.rank and made.rank > rank:
        made = lowrank.truncate(made, rank)
    return Combined(made, made.energy_kept if isinstance(made, Cut) else 1.0)


@contextmanager
def one_thread_each() -> Iterator[Any]:
    """A pool with as many workers as torch has threads, each of whose products run on one thread: the same bits at any number."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)  # new threads start with the number that was set last
