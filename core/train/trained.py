"""What the loop asks of the thing it trains: a bank of adapters beside a frozen model, or a whole model."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from core.adapter import Adapter
from core.data.packing import Packed


class Trained(Protocol):
    """Members in training, counted from 0: their numbers, gradients and losses."""

    names: list[str]
    trained: int
    """Numbers that train, per member."""
    in_step: bool
    """Whether processes exchange weights within a pass, so that none of them can do a step again by itself."""

    def segments(self, parts: Sequence[tuple[int, int]], dropout: Sequence[tuple[int, int]] | None = None) -> AbstractContextManager[None]:
        """Within: the flattened tokens of a batch belong to members, (member, tokens) in order."""

    def loss(self, batch: Packed, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of weights x losses, to be differentiated, and each answer token's loss in fp32, [answer tokens]."""

    def rows(self, member: int) -> list[tuple[nn.Parameter, float]]:
        """A member's numbers as parameters for an optimiser, each with the factor of its learning rate."""

    def unreduced(self) -> list[Tensor]:
        """Gradients of this process's rows alone, which have yet to be added up over the processes."""

    def clip(self, members: Sequence[int], max_norm: float, scales: Sequence[float]) -> list[float]:
        """Divide the gradients by the loss scales, then scale each member's down to `max_norm`. Returns the norms before it."""

    def zero_gradients(self) -> None:
        """Forget the gradients."""

    def stepped(self, member: int, step: int) -> None:
        """A member took optimiser step `step` (from 1)."""

    def keep(self, member: int) -> None:
        """Remember a member as it is now."""

    def restore(self, member: int) -> None:
        """Put back what `keep` remembered."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs; tensors to be written into on resuming."""

    def detach(self) -> None:
        """Leave the model as it was found."""

    def write(self, member: int, about: Adapter, folder: Path, dtype: torch.dtype) -> Any:
        """Save one member as a folder. `about` has its name, base model and run.json."""
