"""DoRA (Liu et al. 2024, arXiv:2402.09353): LoRA turns the rows of W, and a trained vector m gives them their length.

    y = (m / ||W + s B A||) * (W x + s B A x) + bias,    one norm per row, m starts at ||W||

The norm takes part in the forward pass alone (section 4.3 of the paper): it is detached, as in PEFT's `use_dora`.
No W + s B A is ever formed. With row w of W and row b of B,

    ||w + s A^T b||^2 = ||w||^2 + 2 s (A w) . b + s^2 b . (A A^T) b

where ||w||^2 is computed once, and A w costs as much as r more tokens in the batch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core import adapter as peft_folder
from core.adapter import Adapter, Factor
from core.train.lora import Lora, factor
from core.train.low_rank import add_low_rank, segment_scale
from core.train.method import Segment, Site


class Dora(Lora):
    """Trains A [in, r], B [r, out] and m [out] of every target layer."""

    def frozen(self, layer: str, module: Any) -> dict[str, Tensor]:
        """||w||^2 of every row of W, [out], in fp32."""
        return {"squares": _row_norms(module).square()}

    def start(self, layer: str, module: Any) -> dict[str, Tensor]:
        """LoRA's start, and m = ||W||: the layer begins unchanged."""
        return {**super().start(layer, module), "m": _row_norms(module)}

    def forward(self, site: Site, x: Tensor, y: Tensor, segments: Sequence[Segment]) -> Tensor:
        """(m / ||W + s B A||) * (W x + s B A x) + bias. As in PEFT, what dropout hides goes through W alone."""
        own = [site.own[segment.adapter] for segment in segments]
        sizes = [segment.tokens for segment in segments]
        stretches = [tensors["m"] / norm for tensors, norm in zip(own, self._norms(site, own), strict=True)]
        bias = site.module.bias
        plain = site.module.forward(x) if self.config.lora_dropout else y
        if bias is not None:
            plain = plain - bias.to(y.dtype)
        beside = y - plain if self.config.lora_dropout else bias
        turned = add_low_rank(plain, x, [each["A"] for each in own], [each["B"] for each in own], sizes, self.scale)
        stretched = segment_scale(turned, stretches, sizes)
        return stretched if beside is None else stretched + beside.to(y.dtype)

    def factors(self, site: Site, adapter: int) -> Factor:
        """There are none: DoRA's change of W is of full rank."""
        raise NotImplementedError("DoRA has no exact low-rank form")

    def write(self, sites: Sequence[Site], index: int, about: Adapter, folder: Path, dtype: torch.dtype) -> Path:
        """A PEFT folder with use_dora."""
        own = {site.layer: site.own[index] for site in sites}
        factors = {layer: factor(tensors["A"], tensors["B"], self.scale) for layer, tensors in own.items()}
        magnitudes = {layer: tensors["m"].detach().cpu() for layer, tensors in own.items()}
        return peft_folder.write(Adapter(about.name, factors, about.base_model, about.info), folder, dtype, magnitudes)

    @torch.no_grad()
    def _norms(self, site: Site, own: Sequence[dict[str, Tensor]]) -> list[Tensor]:
        """||W + s B A|| by rows, [out], of each adapter."""
        W = _weight(site.module)
        with torch.autocast(W.device.type, enabled=False):
            products = (W @ torch.cat([each["A"] for each in own], 1).to(W.dtype)).float().split(self.config.r, 1)
            squares = []
            for each, product in zip(own, products, strict=True):
                A, B = each["A"], each["B"]
                turned = 2 * self.scale * product.T + self.scale**2 * (A.T @ A) @ B
                squares.append(site.frozen["squares"] + (turned * B).sum(0))
        return [square.sqrt() for square in squares]


def _row_norms(module: Any) -> Tensor:
    return torch.linalg.vector_norm(_weight(module), dim=1, dtype=torch.float32)


def _weight(module: Any) -> Tensor:
    """W [out, in]; a 4-bit one is unpacked."""
    weight = module.weight
    if getattr(weight, "quant_state", None) is None:
        return weight.detach()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.data, weight.quant_state)
