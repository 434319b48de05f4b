"""Forward and backward passes over the rows of a step: packed into micro-batches, shared among processes, and within memory."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from core.config import TrainConfig
from core.data.packing import Packed, pack, pad
from core.data.prompt import Encoded
from core.errors import UserError
from core.models.load import BaseModel
from core.models.packed import can_pack, use_packed_attention
from core.train.distributed import ALONE, Part, Team
from core.train.out_of_memory import within_memory
from core.train.trained import Trained

MICRO_BATCH_TOKENS = {"cpu": 1024, "mps": 4096, "cuda": 16384}
"""Tokens of one forward and backward pass: large enough to keep the device busy, small enough for its memory."""

Row = tuple[int, Encoded]
"""A row, and the place of its member in the bank. Rows of one member stand together."""


class Passes:
    """Computes on rows, in pieces of at most `micro_batch_tokens`; the pieces of a step add up to the same gradients, however small."""

    def __init__(self, base: BaseModel, bank: Trained, config: TrainConfig, say: Callable[[str], Any], team: Team = ALONE) -> None:
        self.base = base
        self.bank = bank
        self.team = team
        self.say = say
        self.shares_prefix = not config.lora_dropout  # dropout hides other inputs in every row
        self.micro_batch_tokens = config.micro_batch_tokens or MICRO_BATCH_TOKENS[base.device.type]
        self.largest = 0
        """Tokens of the largest pass of the last step."""
        self.longest_row = 0
        """Of that step, in tokens."""
        self.recomputes = False
        self.go_through(self.micro_batch_tokens, bool(config.gradient_checkpointing))
        self.packs = can_pack(base.model)
        if self.packs:
            use_packed_attention(base.model)

    def go_through(self, micro_batch_tokens: int, recompute: bool) -> None:
        """From now on in pieces of this size; `recompute` activations in the backward pass instead of keeping them."""
        self.micro_batch_tokens = micro_batch_tokens
        if recompute and not self.recomputes:
            self.recomputes = True
            checkpoint_activations(self.base.model)

    def gradients(self, rows: Sequence[Row], share: Tensor, scale: Tensor, dropout_seeds: Sequence[int]) -> Tensor:
        """Leave in the bank the gradients of sum(share x scale x losses), and return sum(share x losses) of each member, [K].

        `share` and `scale` hold a number for each member, [K]; `dropout_seeds` one for each row.
        """
        means = within_memory(self, lambda: self._gradients(rows, share, scale, dropout_seeds), self.say)
        self.team.add_up(means, *self.bank.unreduced())
        return means

    def losses(self, rows: Sequence[Row]) -> list[float]:
        """Total loss of each row's answer, in nats, without gradients."""
        totals = within_memory(self, lambda: self._losses(rows), self.say)
        self.team.add_up(totals)
        found: list[float] = totals.tolist()
        return found

    def shrink(self) -> str | None:
        """Halve the micro-batch, down to single rows; then recompute activations instead of keeping them."""
        half = max(self.largest // 2, self.longest_row)
        if self.bank.in_step:
            raise UserError(
                f"Memory ran out in process {self.team.rank}. The processes of a full fine-tuning exchange weights layer by layer, so "
                f"none of them can go back. Start again with micro_batch_tokens={half}, gradient_checkpointing=true, or more processes."
            )
        if self.largest > self.longest_row:
            self.go_through(half, self.recomputes)
            return f"Going on with micro-batches of {half} tokens, and more of them."
        if not self.recomputes:
            self.go_through(half, True)
            return "Going on with gradient checkpointing."
        return None

    def _gradients(self, rows: Sequence[Row], share: Tensor, scale: Tensor, seeds: Sequence[int]) -> Tensor:
        self.bank.zero_gradients()
        means = torch.zeros_like(share)
        for places, counted in self._parts(rows):
            owners, batch = self._batch([rows[i] for i in places])
            with self.bank.segments(batch.segments, list(zip([seeds[i] for i in places], batch.row_tokens, strict=True))):
                total, losses = self.bank.loss(batch, (share * scale * counted)[owners])
                total.backward()
            means.index_add_(0, owners, losses * share[owners] * counted)
        return means

    @torch.no_grad()
    def _losses(self, rows: Sequence[Row]) -> Tensor:
        totals = torch.zeros(len(rows), dtype=torch.float64)
        for places, counted in self._parts(rows):
            _, batch = self._batch([rows[i] for i in places])
            with self.bank.segments(batch.segments):
                losses = self.bank.loss(batch, torch.ones(len(batch.targets), device=self.base.device))[1]
            totals.index_add_(0, torch.tensor(places)[batch.rows.cpu()], losses.double().cpu() * counted)
        return totals

    def _parts(self, rows: Sequence[Row]) -> list[Part]:
        """This process's micro-batches, as places in `rows`."""
        lengths = [len(example) for _, example in rows]
        parts = self.team.parts(lengths, self.micro_batch_tokens)
        self.largest = max((sum(lengths[i] for i in places) for places, _ in parts), default=0)
        self.longest_row = max(lengths, default=0)
        return parts

    def _batch(self, rows: Sequence[Row]) -> tuple[Tensor, Packed]:
        """The rows as one batch, and the member of each answer token."""
        owners, examples = [k for k, _ in rows], [example for _, example in rows]
        if self.packs:
            batch = pack(examples, owners, self.base.device, self.shares_prefix)
        else:
            batch = pad(examples, owners, self.base.tokenizer.pad_token_id, self.base.device)
        return torch.tensor(owners, device=self.base.device)[batch.rows], batch


def checkpoint_activations(model: Any) -> None:
    """Recompute activations in the backward pass (Chen et al. 2016, arXiv:1604.06174)."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True  # the layer alone: dropout that the model's config may ask for stays off
