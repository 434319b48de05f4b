"""What a merge did: its distance from the exact weighted sum, what its rank left out, where its adapters disagree.

The tables stand beside the merged adapter. Measures are defined in `core/results/merging.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from core.adapter import Factor
from core.merge.combine import Combined, one_thread_each
from core.merge.layer import Layer
from core.merge.lowrank import Basis
from core.merge.parents import Parent, by_layer
from core.results import ALL, Cosine, Fidelity

ENTRIES = 1 << 17
"""Of each full delta that are held at a time."""
NOTHING = 1e-26
"""A squared norm below this share of the votes' is rounding: they cancel."""


@dataclass(frozen=True)
class _Sums:
    """What adds up over layers."""

    measures: Tensor
    """||E||^2, ||M||^2, ||M - E||^2, energy before and after the cut, entries in conflict, entries, sum |E|, sum_i sum |w_i d_i|."""
    inner: Tensor
    """Inner products of the adapters' deltas, in the order of the layer's adapters."""


def measure(
    parents: Sequence[Parent], combined: Mapping[str, Combined], written: Mapping[str, Factor], progress: Callable[..., None]
) -> tuple[list[Fidelity], list[Cosine]]:
    """The measures over all layers and of each, and the cosine of each pair of adapters. `written`: the merge as its folder holds it."""
    layers, found = by_layer(parents), []
    with one_thread_each() as pool:
        for done, sums in enumerate(pool.map(partial(_sums, combined=combined, written=written), layers), 1):
            found.append(sums)
            progress(done, len(layers), "fidelity", layers[done - 1].name)
    rows = _rows(ALL, torch.stack([sums.measures for sums in found]).sum(0))
    for layer, sums in zip(layers, found, strict=True):
        rows += _rows(layer.name, sums.measures)
    return rows, _cosines(parents, layers, found)


def _sums(layer: Layer, combined: Mapping[str, Combined], written: Mapping[str, Factor]) -> _Sums:
    """Norms are those of cores in one basis, which show a difference of 1e-8 that inner products of the factors would lose."""
    basis = Basis.of([*layer.factors, written[layer.name]], only_cores=True)
    *own, made = basis.cores()
    exact = sum((weight * core for weight, core in zip(layer.weights, own, strict=True)), torch.zeros_like(made))
    inner = torch.stack(own).flatten(1) @ torch.stack(own).flatten(1).T
    votes = float((torch.tensor(layer.weights, dtype=torch.float64) * inner.diagonal().sqrt()).square().sum())
    norms = [float(each.square().sum()) for each in (exact, made, made - exact)]
    norms = [norm if norm > NOTHING * votes else 0.0 for norm in norms]
    kept = combined[layer.name].energy_kept
    return _Sums(torch.tensor([*norms, norms[1] / kept if kept else 0.0, norms[1], *_signs(layer)], dtype=torch.float64), inner)


def _signs(layer: Layer) -> list[float]:
    """Entries in conflict, entries, sum |E| and sum_i sum |w_i d_i|; some rows of the full deltas at a time."""
    conflicts = total = every = 0.0
    weighted = [(factor.A, factor.B * (factor.scale * weight)) for factor, weight in zip(layer.factors, layer.weights, strict=True)]
    rows = max(1, ENTRIES // layer.shape[1])
    for start in range(0, layer.shape[0], rows):
        votes = torch.stack([B[start : start + rows] @ A for A, B in weighted])
        conflicts += float(((votes.amin(0) < 0) & (votes.amax(0) > 0)).sum())
        total += float(votes.sum(0).abs().sum(dtype=torch.float64))
        every += float(votes.abs().sum(dtype=torch.float64))
    return [conflicts, layer.shape[0] * layer.shape[1], total, every]


def _rows(layer: str, measures: Tensor) -> list[Fidelity]:
    exact, made, distance, energy, kept, conflicts, entries, total, every = measures.tolist()
    values = {
        "relative_error": (distance / exact) ** 0.5 if exact else None,
        "norm_ratio": (made / exact) ** 0.5 if exact else None,
        "energy_kept": kept / energy if energy else None,
        "sign_conflict": conflicts / entries,
        "cancelled": 1 - total / every if every else None,
    }
    return [Fidelity(layer, name, value) for name, value in values.items()]


def _cosines(parents: Sequence[Parent], layers: Sequence[Layer], found: Sequence[_Sums]) -> list[Cosine]:
    """Inner products count the layers that both adapters have. An adapter without a delta has no cosine."""
    inner = torch.zeros(len(parents), len(parents), dtype=torch.float64)
    for layer, sums in zip(layers, found, strict=True):
        having = torch.tensor([n for n, parent in enumerate(parents) if layer.name in parent.adapter.factors])
        inner[having[:, None], having] += sums.inner
    norms = inner.diagonal().sqrt().tolist()
    pairs = [(one, other) for one, other in combinations(range(len(parents)), 2) if norms[one] and norms[other]]
    return [Cosine(parents[one].name, parents[other].name, float(inner[one, other]) / (norms[one] * norms[other])) for one, other in pairs]
