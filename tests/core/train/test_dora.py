"""DoRA of one layer against its formula with W + s B A really formed, in float64."""

from collections.abc import Sequence

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from torch import Tensor, nn

from core.config import TrainConfig
from core.train.dora import Dora
from core.train.method import Segment, Site

IN, OUT, R = 64, 48, 4


def layer(dtype: torch.dtype = torch.float32, bias: bool = True, four_bit: bool = False) -> tuple[nn.Module, Tensor]:
    """A frozen layer, and its W in float64."""
    torch.manual_seed(0)
    linear = nn.Linear(IN, OUT, bias=bias).to(dtype).requires_grad_(False)
    if not four_bit:
        return linear, linear.weight.double()
    packed = Linear4bit(IN, OUT, bias=bias, quant_type="nf4", compute_dtype=dtype)
    packed.weight, packed.bias = Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4"), linear.bias
    packed = packed.to("cpu")
    return packed, packed(torch.eye(IN, requires_grad=True)).T.double().detach() - (linear.bias.double()[:, None] if bias else 0)


def site_of(dora: Dora, module: nn.Module, adapters: int, size: float = 1.0) -> Site:
    """A site with trained factors: B and m moved away from their start."""
    site = Site("layer", module, dora.frozen("layer", module))
    for k in range(adapters):
        own = dora.start("layer", module)
        draw = torch.Generator().manual_seed(k)
        own["B"] += size * torch.randn(R, OUT, generator=draw)
        own["m"] *= 1 + 0.3 * torch.rand(OUT, generator=draw)
        site.own.append({name: tensor.requires_grad_() for name, tensor in own.items()})
    return site


def literal(W: Tensor, bias: Tensor | None, x: Tensor, own: dict[str, Tensor], scale: float) -> Tensor:
    delta = scale * (own["A"] @ own["B"]).T
    norm = torch.linalg.vector_norm(W + delta, dim=1).detach()
    return x @ (own["m"][:, None] * (W + delta) / norm[:, None]).T + (0 if bias is None else bias)


def wide(own: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().double().requires_grad_() for name, tensor in own.items()}


@pytest.mark.parametrize("four_bit", [False, True], ids=["", "4-bit"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("sizes", [[6], [3, 3], [1, 5]])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_output_and_gradients(sizes: Sequence[int], bias: bool, four_bit: bool, dropout: float) -> None:
    dora = Dora(TrainConfig(method="dora", r=R, lora_alpha=8, lora_dropout=dropout))
    module, W = layer(bias=bias, four_bit=four_bit)
    site = site_of(dora, module, len(sizes))
    given = torch.randn(1, sum(sizes), IN, generator=torch.Generator().manual_seed(5)).requires_grad_()
    mask = (torch.rand(given.shape) >= dropout) / (1 - dropout)
    found = dora.forward(site, given * mask, module(given).clone(), [Segment(k, size) for k, size in enumerate(sizes)])
    own, x = [wide(each) for each in site.own], given.detach().double().requires_grad_()
    seen = x * mask
    b = module.bias.double() if bias else None
    parts = [literal(W, b, part, each, dora.scale) for part, each in zip(seen.split(sizes, 1), own, strict=True)]
    expected = torch.cat(parts, 1) + (x - seen) @ W.T
    assert (found - expected).abs().max() < 1e-5
    weights = torch.randn(found.shape)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert (given.grad - x.grad).norm() < 1e-5 * x.grad.norm()
    for each, reference in zip(site.own, own, strict=True):
        for name, tensor in each.items():
            assert (tensor.grad - reference[name].grad).norm() < 1e-5 * reference[name].grad.norm(), name


@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_norms_without_forming_the_sum(size: float, dtype: torch.dtype, tolerance: float) -> None:
    dora = Dora(TrainConfig(method="dora", r=R, lora_alpha=8))
    module, W = layer(dtype)
    site = site_of(dora, module, 3, size)
    for own, norm in zip(site.own, dora._norms(site, site.own), strict=True):
        expected = torch.linalg.vector_norm(W + dora.scale * (own["A"] @ own["B"]).T.double(), dim=1)
        assert ((norm - expected) / expected).abs().max() < tolerance


def test_it_starts_as_the_layer_itself() -> None:
    dora = Dora(TrainConfig(method="dora", r=R))
    module, _ = layer()
    site = Site("layer", module, dora.frozen("layer", module), [dora.start("layer", module)])
    x = torch.randn(1, 5, IN)
    assert torch.equal(dora.forward(site, x, module(x), [Segment(0, 5)]), module(x))
