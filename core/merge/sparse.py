"""Strategies on the full deltas, entry by entry: some entries are dropped, signs are elected, and what agrees is averaged.

Throughout, d_i is the delta of an adapter, [out, in] in float64, w_i its weight, and w_i d_i its vote at each entry. Deltas are formed
one at a time and not kept. `density` is the share of a delta's entries that is kept; at 1 nothing is dropped, to the bit.
A mean over the adapters that agree is multiplied by the strength S = sum |w|, so that weights mean the same in every strategy; the
lambda of the TIES paper, given as `ties_lambda`, is S itself.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from core.config import MergeConfig
from core.merge.layer import Layer

TIE = 1e-12
"""Two sides whose votes differ by less than this share are equal: in another order, the same sums differ by rounding."""


def ties(layer: Layer, config: MergeConfig) -> Tensor:
    """Trim, elect signs, merge (Yadav et al. 2023, arXiv:2306.01708, algorithm 1): S sum_agree(w d) / sum_agree |w|."""
    return agreeing_mean(_trimmed(layer, config), layer.weights) * strength(layer, config)


def dare_linear(layer: Layer, config: MergeConfig) -> Tensor:
    """Drop at random, rescale by 1 / density, and sum by weight (Yu et al. 2023, arXiv:2311.03099, whose p is 1 - density)."""
    return _weighted_sum(_dropped(layer, config), layer)


def dare_ties(layer: Layer, config: MergeConfig) -> Tensor:
    """Drop and rescale as DARE does, then elect signs and merge as TIES does."""
    return agreeing_mean(_dropped(layer, config), layer.weights) * strength(layer, config)


def magnitude_prune(layer: Layer, config: MergeConfig) -> Tensor:
    """Keep each delta's largest entries, and sum by weight."""
    return _weighted_sum(_trimmed(layer, config), layer)


def della(layer: Layer, config: MergeConfig) -> Tensor:
    """MagPrune, elect, fuse (Deep et al. 2024, arXiv:2406.11617): drop small entries rather than large ones, then merge as TIES does."""
    return agreeing_mean(_sampled(layer, config), layer.weights) * strength(layer, config)


def breadcrumbs(layer: Layer, config: MergeConfig) -> Tensor:
    """Cut each delta's largest and smallest entries, and sum by weight (Davari and Belilovsky 2023, arXiv:2312.06795)."""
    return _weighted_sum(_without_outliers(layer, config), layer)


def sce(layer: Layer, config: MergeConfig) -> Tensor:
    """Select, calculate, erase (Wan et al. 2024, arXiv:2408.07990): S sum_agree(c sign(w) d) / sum_agree c.

    Selected are the entries at which the votes vary most; c_i is the energy of an adapter's selected votes. The paper has no weights:
    its deltas are the votes here. One adapter has nothing to differ from, so all of it is selected.
    """
    selected = torch.ones(layer.shape, dtype=torch.bool)
    if len(layer.weights) > 1:
        selected = largest(_variance(layer), _kept(layer, config))
    energies = [float((weight * delta[selected]).square().sum()) for delta, weight in zip(layer.deltas(), layer.weights, strict=True)]
    return agreeing_mean((delta * selected for delta in layer.deltas()), layer.weights, energies) * layer.strength


def strength(layer: Layer, config: MergeConfig) -> float:
    """S: what the mean of agreeing adapters is multiplied by."""
    return config.ties_lambda or layer.strength


def agreeing_mean(deltas: Iterable[Tensor], weights: Sequence[float], shares: Sequence[float] | None = None) -> Tensor:
    """sum_agree(c_i sign(w_i) d_i) / sum_agree c_i over the adapters whose vote has the sign of the sum of all votes.

    c_i: `shares`, or |w_i|. An entry of 0 is no vote; where the votes cancel no sign is elected, and the mean is 0.
    """
    sides: Tensor | None = None
    for delta, weight, share in zip(deltas, weights, shares or list(map(abs, weights)), strict=True):
        if sides is None:
            sides = delta.new_zeros(2, 3, *delta.shape)
        votes = weight * delta
        for side, cast in zip(sides, (votes.clamp(min=0), -votes.clamp(max=0)), strict=True):
            side[0] += cast
            side[1].add_(cast, alpha=share / abs(weight))
            side[2].add_(cast > 0, alpha=share)
    assert sides is not None
    (up, up_sum, up_share), (down, down_sum, down_share) = sides
    mean = torch.where(up > down * (1 + TIE), up_sum / up_share, 0)
    return torch.where(down > up * (1 + TIE), -down_sum / down_share, mean)


def largest(values: Tensor, count: int) -> Tensor:
    """Where the `count` largest values are; among equals the first."""
    flat = values.flatten()
    if count in (0, flat.numel()):
        return torch.full_like(values, bool(count), dtype=torch.bool)
    threshold = float(np.partition(flat.numpy(), -count)[-count])
    chosen = flat > threshold
    equal = (flat == threshold).nonzero().flatten()
    chosen[equal[: count - int(chosen.sum())]] = True
    return chosen.view_as(values)


def _weighted_sum(deltas: Iterable[Tensor], layer: Layer) -> Tensor:
    total = torch.zeros(layer.shape, dtype=torch.float64)
    for delta, weight in zip(deltas, layer.weights, strict=True):
        total.add_(delta, alpha=weight)
    return total


def _trimmed(layer: Layer, config: MergeConfig) -> Iterator[Tensor]:
    for delta in layer.deltas():
        yield delta * largest(delta.abs(), _kept(layer, config))


def _dropped(layer: Layer, config: MergeConfig) -> Iterator[Tensor]:
    density = _density(config)
    for delta, generator in zip(layer.deltas(), layer.generators(config.seed), strict=True):
        yield delta * (torch.rand(delta.shape, generator=generator) < density) / density


def _sampled(layer: Layer, config: MergeConfig) -> Iterator[Tensor]:
    for delta, generator in zip(layer.deltas(), layer.generators(config.seed), strict=True):
        chances = keep_chances(delta, _density(config), config.della_epsilon)
        yield delta * (torch.rand(delta.shape, generator=generator) < chances) / chances


def keep_chances(delta: Tensor, density: float, epsilon: float) -> Tensor:
    """The chance of each entry to be kept: from density - epsilon / 2 to density + epsilon / 2, by its rank in its row.

    The paper's p_i = p_min + epsilon / n r_i, with ranks counted so that the mean chance is the density. The window is narrowed where it
    would leave (0, 1].
    """
    entries = delta.shape[1]
    ranks = torch.arange(entries, dtype=delta.dtype).expand_as(delta)
    ranks = torch.empty_like(delta).scatter_(1, delta.abs().argsort(1), ranks)
    half = min(epsilon / 2, density, 1 - density)
    return density + half * ((2 * ranks + 1) / entries - 1)


def _without_outliers(layer: Layer, config: MergeConfig) -> Iterator[Tensor]:
    """The largest entries but for the share gamma of the very largest, which is cut smaller where density leaves less."""
    kept, entries = _kept(layer, config), layer.shape[0] * layer.shape[1]
    outliers = min(int(config.breadcrumbs_gamma * entries), entries - kept)
    for delta in layer.deltas():
        yield delta * (largest(delta.abs(), outliers + kept) & ~largest(delta.abs(), outliers))


def _variance(layer: Layer) -> Tensor:
    """The variance of the votes at each entry, up to a constant factor, by Welford's update: exactly 0 where they are equal."""
    mean, spread = torch.zeros(layer.shape, dtype=torch.float64), torch.zeros(layer.shape, dtype=torch.float64)
    for count, (delta, weight) in enumerate(zip(layer.deltas(), layer.weights, strict=True), 1):
        distance = weight * delta - mean
        mean.add_(distance, alpha=1 / count)
        spread += distance * (weight * delta - mean)
    return spread


def _kept(layer: Layer, config: MergeConfig) -> int:
    """How many entries of a delta are kept."""
    return int(_density(config) * layer.shape[0] * layer.shape[1])


def _density(config: MergeConfig) -> float:
    assert config.density is not None  # the config refuses these strategies without it
    return config.density
