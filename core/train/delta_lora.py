"""Delta-LoRA (Zi et al. 2023, arXiv:2309.02411): W follows the changes of B A.

The paper's algorithm 1 trains A and B with AdamW on a LoRA without dropout, and, after each step t (from 0) with t > K, writes

    W_{t+1} = W_t + lambda s (B_{t+1} A_{t+1} - B_t A_t),    s = alpha / r                                (1)

W gets no gradient of its own. The sum of (1) telescopes. With B' A' the product after K + 1 steps, the last before W first changes,

    W_t = W_0 + lambda s (B_t A_t - B' A')                                                               (2)

so nothing has to be written into W, which may be held in 4 bits and shared by many adapters: each keeps a copy of its A' and B' and adds

    y = W_0 x + s B A x + lambda s ([B A] - B' A') x                                                      (3)

where [] is detached, because W is constant within a step; x is not, because gradients flow through W. A finished adapter is exactly

    s ((1 + lambda) B_T A_T - lambda B' A')                                                              (4)

a LoRA of rank 2 r. Until the step K + 2, A' = A and B' = B, and it is the LoRA of rank r.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from core.adapter import Factor
from core.config import TrainConfig
from core.errors import UserError
from core.train.lora import Lora, factor
from core.train.low_rank import add_low_rank
from core.train.method import Segment, Site


class DeltaLora(Lora):
    """Trains A [in, r] and B [r, out] of every target layer, and keeps what they were when W began to change."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        if config.lora_dropout > 0:
            raise UserError(
                f"lora_dropout={config.lora_dropout} can't go with method=delta_lora: W follows the whole of B A, also what dropout hides "
                "from the gradient. The paper trains without dropout: set lora_dropout=0."
            )

    def kept(self, layer: str, module: Any) -> dict[str, Tensor]:
        """A' and B' of (2): at first, the start."""
        start = self.start(layer, module)
        return {"A'": start["A"], "B'": start["B"]}

    def forward(self, site: Site, x: Tensor, y: Tensor, segments: Sequence[Segment]) -> Tensor:
        """Equation (3), the detached part as one LoRA of rank 2 r: [A, A'] and [lambda B, -lambda B']."""
        own, weight = [site.own[segment.adapter] for segment in segments], self.config.delta_lambda
        sizes = [segment.tokens for segment in segments]
        y = add_low_rank(y, x, [each["A"] for each in own], [each["B"] for each in own], sizes, self.scale)
        A = [torch.cat([each["A"].detach(), each["A'"]], 1) for each in own]
        B = [torch.cat([each["B"].detach(), -each["B'"]]) for each in own]
        return add_low_rank(y, x, A, B, sizes, self.scale * weight)

    def after_step(self, sites: Sequence[Site], adapter: int, step: int) -> None:
        """A' and B' go along for K + 1 steps."""
        if step <= self.config.delta_start + 1:
            own = [site.own[adapter] for site in sites]
            kept = [each[name] for each in own for name in ("A'", "B'")]
            torch._foreach_copy_(kept, [each[name].detach() for each in own for name in ("A", "B")])

    def factors(self, site: Site, adapter: int) -> Factor:
        """Equation (4)."""
        own, weight = site.own[adapter], self.config.delta_lambda
        if weight == 0 or all(torch.equal(own[name], own[f"{name}'"]) for name in "AB"):
            return factor(own["A"], own["B"], self.scale)
        return factor(torch.cat([own["A"], own["A'"]], 1), torch.cat([(1 + weight) * own["B"], -weight * own["B'"]]), self.scale)

    def read(self, site: Site, adapter: int, saved: Mapping[str, Tensor]) -> None:
        """Equation (4) taken apart; a LoRA of rank r is one whose W had not changed yet."""
        A, B, r = saved["A"], saved["B"], self.config.r
        if A.shape[1] == r:
            parts = {"A": A, "B": B, "A'": A, "B'": B}
        else:
            weight = self.config.delta_lambda
            parts = {"A": A[:, :r], "A'": A[:, r:], "B": B[:r] / (1 + weight), "B'": B[r:] / -weight}
        super().read(site, adapter, parts)
