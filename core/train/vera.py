"""VeRA (Kopiczko et al. 2023, arXiv:2310.11454): two vectors per layer train, beside one pair of frozen random matrices.

    y = W x + b * (B (d * (A x)))

A [r, in] and B [out, r] are corners of one random pair that the seed makes, the same for all layers and all adapters; d [r] starts
at `vera_d_initial` and b [out] at zero. There is no alpha. As PEFT has it: its `projection_prng_key` is the seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core import vera
from core.adapter import Adapter, Factor
from core.config import TrainConfig
from core.errors import UserError
from core.train.low_rank import segment_scale
from core.train.method import Method, Segment, Site


class Vera(Method):
    """Trains d [r] and b [out] of every target layer."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        if config.vera_d_initial == 0:
            raise UserError(
                "vera_d_initial=0 makes both vectors of VeRA start at zero, so neither ever gets a gradient. Take 0.1, the paper's."
            )

    def prepare(self, layers: Mapping[str, Any]) -> None:
        """Draw the projections, as wide as the widest target layers."""
        widest = (max(module.in_features for module in layers.values()), max(module.out_features for module in layers.values()))
        device = next(iter(layers.values())).weight.device
        self.projections = tuple(each.to(device) for each in vera.projections(self.config.seed, self.config.r, *widest))

    def frozen(self, layer: str, module: Any) -> dict[str, Tensor]:
        """A [in, r] and B [r, out]: the layer's corner of the projections, not copied."""
        A, B = self.projections
        return {"A": A[:, : module.in_features].T, "B": B[: module.out_features].T}

    def start(self, layer: str, module: Any) -> dict[str, Tensor]:
        """d constant, b zero: the delta begins at 0."""
        return {"d": torch.full((self.config.r,), self.config.vera_d_initial), "b": torch.zeros(module.out_features)}

    def forward(self, site: Site, x: Tensor, y: Tensor, segments: Sequence[Segment]) -> Tensor:
        """y + b * (B (d * (A x)))"""
        d, b = ([site.own[segment.adapter][name] for segment in segments] for name in "db")
        sizes = [segment.tokens for segment in segments]
        A, B = (site.frozen[name].to(y.dtype) for name in "AB")
        inner = segment_scale(x.to(y.dtype) @ A, d, sizes)
        return y.add_(segment_scale(inner @ B, b, sizes))

    def factors(self, site: Site, adapter: int) -> Factor:
        """A' = diag(d) A, B' = diag(b) B, scale 1."""
        own, frozen = site.own[adapter], site.frozen
        A, B = (own["d"] * frozen["A"]).T, (own["b"] * frozen["B"]).T
        return Factor(*(each.detach().cpu().contiguous() for each in (A, B)), 1.0)

    def write(self, sites: Sequence[Site], index: int, about: Adapter, folder: Path, dtype: torch.dtype) -> Path:
        """A PEFT VeRA folder, projections and all."""
        d, b = ({site.layer: site.own[index][name] for site in sites} for name in "db")
        widths = {site.layer: site.module.in_features for site in sites}
        A, B = self.projections
        return vera.write(vera.VeraWeights(self.config.seed, A, B, d, b, widths), folder, about.base_model, about.info, dtype)
