"""Arrow: each token at each layer goes to the adapters whose deltas read most of it (Ostapenko et al. 2024, arXiv:2405.11157)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from core.adapter import Factor
from core.config import RouteConfig
from core.merge import lowrank
from core.merge.parents import Parent
from core.merge.route import Fit
from core.workspace import Workspace

TOP_K = 3
"""What peft's ArrowConfig takes."""


def arrow(members: Sequence[Parent], config: RouteConfig, workspace: Workspace) -> Fit:
    """logits_k = |x . v_k|, with v_k from the adapter alone: no data is needed. Temperature 1 if not given, as in peft."""
    layers = sorted({layer for member in members for layer in member.adapter.factors})
    tensors = {}
    for done, layer in enumerate(layers, 1):
        factors = [member.adapter.factors.get(layer) for member in members]
        width = next(factor.A.shape[1] for factor in factors if factor)
        found = torch.stack([prototype(factor) if factor else torch.zeros(width, dtype=torch.float64) for factor in factors])
        if found.any():
            tensors[layer] = found
        workspace.progress(done, len(layers), "layers", layer)
    categories = [list(member.adapter.info.get("categories") or []) for member in members]
    return Fit(tensors, config.temperature or 1.0, categories, min(TOP_K, len(members)))


def prototype(factor: Factor) -> Tensor:
    """The direction [in] that the delta s B A stretches most, its top right singular vector, of length 1; its sign means nothing."""
    return F.normalize(lowrank.truncate(factor, 1).A[0], dim=0)
