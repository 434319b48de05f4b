"""What a tuning method is: which tensors train beside a layer, how they change its output, and how an adapter leaves."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core import adapter as peft_folder
from core.adapter import Adapter, Factor
from core.config import TrainConfig
from core.errors import UserError


@dataclass(frozen=True)
class Site:
    """One target layer with the tensors of all adapters beside it."""

    layer: str
    """Name of the layer in the base model."""
    module: Any
    """The frozen linear layer: y = x W^T + b."""
    frozen: dict[str, Tensor]
    """Tensors that do not train and that all adapters share."""
    own: list[dict[str, Tensor]] = field(default_factory=list)
    """Per adapter: its trained tensors (leaves), and those it keeps beside them."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a batch's tokens that belongs to one adapter."""

    adapter: int
    tokens: int


class Method(ABC):
    """A tuning method, for one config. `core/train/training_bank.py` holds its tensors and calls it at every target layer."""

    quantization: str | None = None
    """How the method wants the base model; None leaves it to the config."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    @property
    def scale(self) -> float:
        """What the delta is multiplied by: lora_alpha / r."""
        return self.config.lora_alpha / self.config.r

    def prepare(self, layers: Mapping[str, Any]) -> None:  # noqa: B027 - most methods look at one layer at a time
        """Called once, with all target layers, before anything is asked about one of them."""

    def frozen(self, layer: str, module: Any) -> dict[str, Tensor]:
        """Tensors beside a layer that all adapters share; from the seed alone."""
        return {}

    @abstractmethod
    def start(self, layer: str, module: Any) -> dict[str, Tensor]:
        """The tensors of one adapter that train beside a layer, at their start; from the seed alone."""

    def kept(self, layer: str, module: Any) -> dict[str, Tensor]:
        """Tensors that an adapter keeps beside a layer without training them."""
        return {}

    def rate(self, tensor: str) -> float:
        """What the learning rate is multiplied by for the tensors of this name."""
        return 1.0

    @abstractmethod
    def forward(self, site: Site, x: Tensor, y: Tensor, segments: Sequence[Segment]) -> Tensor:
        """The layer's new output, [..., out]. x [..., in] is its input (after dropout), y its output without adapters, free to change."""

    def after_step(self, sites: Sequence[Site], adapter: int, step: int) -> None:  # noqa: B027 - most methods have nothing to do
        """Called after optimiser step `step` (from 1) of an adapter."""

    def factors(self, site: Site, adapter: int) -> Factor:
        """The adapter's change of the layer as a plain LoRA factor, exact."""
        raise NotImplementedError(f"{type(self).__name__} has no exact low-rank form")

    def write(self, sites: Sequence[Site], index: int, about: Adapter, folder: Path, dtype: torch.dtype) -> Path:
        """Save one adapter as the PEFT folder of this method. `about` has its name, base model and run.json."""
        factors = {site.layer: self.factors(site, index) for site in sites}
        return peft_folder.write(Adapter(about.name, factors, about.base_model, about.info), folder, dtype)

    @torch.no_grad()
    def read(self, site: Site, adapter: int, saved: Mapping[str, Tensor]) -> None:
        """Take back a layer's tensors, by their names in `start` and `frozen`, from the folder that `write` made."""
        for name, tensor in saved.items():
            held = (site.frozen | site.own[adapter])[name]
            if held.shape != tensor.shape:
                raise UserError(
                    f"The adapter's {name} of layer {site.layer} has the shape {tuple(tensor.shape)}, here it would be "
                    f"{tuple(held.shape)}. Load it on the base model that it was trained on."
                )
            held.copy_(tensor)


def generator(seed: int, key: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers that depend on the seed, a name such as a layer's, and the kind of device alone."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
