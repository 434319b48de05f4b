"""K adapters in training on one frozen model: what trains, its gradients, and the hooks that put it beside the layers.

All numbers of an adapter lie in one row of a flat buffer, so clipping, stepping, keeping the best and saving are each one operation
per adapter, however many layers it has. The tensors that a method sees are views of it, and plain leaves for autograd. Rows of a
batch never mix and the base is frozen, so every adapter's gradient is what it would be alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.adapter import Adapter
from core.bank import target_layers
from core.config import TrainConfig
from core.data.packing import Packed
from core.models.loss import weighted_loss
from core.train.method import Method, Segment, Site, generator


@dataclass(frozen=True)
class Column:
    """Where a tensor of every adapter lies in the flat buffer."""

    layer: str
    tensor: str
    begin: int
    shape: torch.Size

    @property
    def part(self) -> slice:
        """Its columns."""
        return slice(self.begin, self.begin + self.shape.numel())


class TrainingBank:
    """The adapters of a cohort. `method` says what stands beside a layer; this holds it and hooks it in."""

    in_step = False
    """Processes that share a step's rows exchange nothing before its end."""

    def __init__(self, model: Any, method: Method, names: Sequence[str], config: TrainConfig) -> None:
        self.model = model
        self.method = method
        self.names = list(names)
        self.dropout = config.lora_dropout
        layers = target_layers(model, config.target_modules)
        device = next(model.parameters()).device
        method.prepare(layers)
        frozen = {name: {key: t.to(device) for key, t in method.frozen(name, module).items()} for name, module in layers.items()}
        self.sites = [Site(name, module, frozen[name]) for name, module in layers.items()]
        trained, kept = _tensors(method.start, layers), _tensors(method.kept, layers)
        self.columns = _columns(trained | kept)
        self.trained = sum(tensor.numel() for tensor in trained.values())
        """Numbers that train, per adapter."""
        row = torch.cat([tensor.flatten().to(device, torch.float32) for tensor in (trained | kept).values()])
        self.values = row.repeat(len(self.names), 1)
        """[K, trained + kept]"""
        self.gradients = torch.zeros(len(self.names), self.trained, device=device)
        """[K, trained]"""
        self.best = self.values.clone()
        """[K, trained + kept]: what `keep` remembered."""
        self._hand_out()
        self._segments: list[Segment] | None = None
        self._masks: list[tuple[int, int]] | None = None
        self._hooks = [site.module.register_forward_hook(self._hook(site)) for site in self.sites]

    @contextmanager
    def segments(self, parts: Sequence[tuple[int, int]], dropout: Sequence[tuple[int, int]] | None = None) -> Iterator[None]:
        """Within: the flattened tokens of a batch belong to adapters, (adapter, tokens) in order. Outside: all to the first.

        `dropout`: (seed, tokens) of each row in the same order; an adapter then misses the same inputs however rows are batched.
        """
        self._segments = [Segment(adapter, tokens) for adapter, tokens in parts]
        self._masks = list(dropout) if dropout and self.dropout else None
        try:
            yield
        finally:
            self._segments = self._masks = None

    def loss(self, batch: Packed, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of weights x losses, to be differentiated, and each answer token's loss in fp32, [answer tokens]."""
        return weighted_loss(self.model, batch, weights)

    def parameters(self, adapter: int = 0) -> list[nn.Parameter]:
        """The trained tensors of one adapter."""
        return [value for site in self.sites for value in site.own[adapter].values() if isinstance(value, nn.Parameter)]

    def rows(self, adapter: int) -> list[tuple[nn.Parameter, float]]:
        """The same numbers as few flat parameters, each with the factor of its learning rate; for an optimiser."""
        found = []
        for rate, part in self._rates():
            flat = nn.Parameter(self.values[adapter, part])
            flat.grad = self.gradients[adapter, part]
            found.append((flat, rate))
        return found

    def clip(self, adapters: Sequence[int], max_norm: float, scales: Sequence[float]) -> list[float]:
        """Divide the gradients by the loss scales, then scale each adapter's down to `max_norm`. Returns the norms before it."""
        chosen = torch.tensor(adapters, device=self.gradients.device)
        divided = torch.linalg.vector_norm(self.gradients, dim=1)[chosen] / torch.tensor(scales, device=chosen.device)
        factors = (max_norm / (divided + 1e-6)).clamp(max=1.0) / torch.tensor(scales, device=chosen.device)
        for adapter, factor in zip(adapters, factors, strict=True):
            self.gradients[adapter].mul_(factor)
        norms: list[float] = divided.tolist()
        return norms

    def unreduced(self) -> list[Tensor]:
        """The gradients: each process has those of its own rows."""
        return [self.gradients]

    def zero_gradients(self) -> None:
        """Forget the gradients of all adapters."""
        self.gradients.zero_()

    def stepped(self, adapter: int, step: int) -> None:
        """Tell the method that an adapter took optimiser step `step` (from 1)."""
        self.method.after_step(self.sites, adapter, step)

    def keep(self, adapter: int) -> None:
        """Remember an adapter as it is now."""
        self.best[adapter].copy_(self.values[adapter])

    def restore(self, adapter: int) -> None:
        """Put back what `keep` remembered."""
        self.values[adapter].copy_(self.best[adapter])

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs; tensors to be written into on resuming."""
        return {"values": self.values, "best": self.best}

    def write(self, adapter: int, about: Adapter, folder: Path, dtype: torch.dtype) -> Path:
        """Save one adapter as the PEFT folder of its method. `about` has its name, base model and run.json."""
        return self.method.write(self.sites, adapter, about, folder, dtype)

    def detach(self) -> None:
        """Take the bank off its model."""
        for hook in self._hooks:
            hook.remove()

    def _hand_out(self) -> None:
        """Give every site each adapter's views of the buffer."""
        places = {(column.layer, column.tensor): column for column in self.columns}
        for site in self.sites:
            mine = {tensor: column for (layer, tensor), column in places.items() if layer == site.layer}
            for k in range(len(self.names)):
                site.own.append({tensor: self._view(k, column) for tensor, column in mine.items()})

    def _view(self, adapter: int, column: Column) -> Tensor:
        value = self.values[adapter, column.part].view(column.shape)
        if column.begin >= self.trained:
            return value
        parameter = nn.Parameter(value)
        parameter.grad = self.gradients[adapter, column.part].view(column.shape)
        return parameter

    def _rates(self) -> list[tuple[float, slice]]:
        """Neighbouring trained columns of one learning rate, together."""
        parts: list[tuple[float, slice]] = []
        for column in self.columns:
            rate = self.method.rate(column.tensor)
            if column.begin >= self.trained:
                break
            if parts and parts[-1][0] == rate:
                parts[-1] = (rate, slice(parts[-1][1].start, column.part.stop))
            else:
                parts.append((rate, column.part))
        return parts

    def _hook(self, site: Site) -> Any:
        def put_beside(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = inputs[0]
            segments = self._segments or [Segment(0, x.shape[:-1].numel())]
            y = output.clone() if output._is_view() else output  # layers with a bias return views, which autograd may not let change
            return self.method.forward(site, self._drop(x, site), y, segments)

        return put_beside

    def _drop(self, x: Tensor, site: Site) -> Tensor:
        """Dropout with a mask for each row that depends on its seed and the layer alone; in a person's own loop, torch's."""
        if not self.dropout or not (self._masks or (self._segments is None and self.model.training)):
            return x
        if self._masks is None:
            return F.dropout(x, self.dropout)
        draws = [(generator(seed, site.layer, x.device), tokens) for seed, tokens in self._masks]
        kept = [torch.rand(tokens, x.shape[-1], generator=draw, device=x.device) >= self.dropout for draw, tokens in draws]
        mask = torch.cat(kept).view(x.shape).to(x.dtype)
        return x * mask / (1 - self.dropout)


def _tensors(of: Any, layers: dict[str, Any]) -> dict[tuple[str, str], Tensor]:
    """What `of` gives each layer, by (tensor, layer): tensors of one name together, so that those of one learning rate are neighbours."""
    by_layer = {name: of(name, module) for name, module in layers.items()}
    kinds = list(dict.fromkeys(kind for tensors in by_layer.values() for kind in tensors))
    return {(kind, layer): tensors[kind] for kind in kinds for layer, tensors in by_layer.items() if kind in tensors}


def _columns(tensors: dict[tuple[str, str], Tensor]) -> list[Column]:
    columns, begin = [], 0
    for (kind, layer), tensor in tensors.items():
        columns.append(Column(layer, kind, begin, tensor.shape))
        begin += tensor.numel()
    return columns
