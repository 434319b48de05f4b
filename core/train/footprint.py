"""The bytes of a training run, by what they are for: its heaviest micro-batch, trained for one step on tensors without bytes.

It goes through the real bank, loop and optimiser (core/models/memory.py tells how), so every method and architecture is covered.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from os.path import commonprefix
from pathlib import Path

import torch
from transformers import PretrainedConfig

from core.config import TrainConfig
from core.data.packing import micro_batches
from core.data.prompt import Encoded
from core.models.load import BaseModel
from core.models.memory import LiveBytes, weightless
from core.models.packed import ARCHITECTURES
from core.registry import lookup
from core.train import METHODS
from core.train.cohort import Member
from core.train.full import Full, WholeModel
from core.train.loop import VALIDATED_TOGETHER, Cohort
from core.train.method import Method
from core.train.passes import Row
from core.train.speed import training_flops
from core.train.training_bank import TrainingBank

ROWS_SEEN = 500_000
"""list[Row] of a run's first steps among which the heaviest micro-batch is sought."""
TENSOR_OBJECT_BYTES = 1_600
"""What Python and torch keep in the main memory about a trained tensor and its gradient, beside their numbers; measured."""


@dataclass(frozen=True)
class Footprint:
    """Bytes on the device."""

    weights: int
    """The base model's."""
    common: int
    """What a method keeps beside the layers for all adapters."""
    adapter: int
    """Per adapter: what trains, its gradients and its kept best copy. Method full: the gradients."""
    moments: int
    """Per adapter: AdamW's."""
    activations: int
    """What the forward pass keeps for the backward pass."""
    workspace: int
    """What more is alive at the peak."""

    def training(self, adapters: int) -> int:
        """All together, with so many adapters."""
        return self.weights + self.common + adapters * (self.adapter + self.moments) + self.activations + self.workspace


@dataclass(frozen=True)
class Setting:
    """What is computed, where and how."""

    model_config: PretrainedConfig
    device: torch.device
    dtype: torch.dtype
    """Of the products; the whole model's weights are fp32 where they train."""

    def packs(self) -> bool:
        """Whether rows are laid end to end instead of padded."""
        return self.model_config.model_type in ARCHITECTURES


class _Heaviest(Member):
    """A member each of whose steps has the same rows."""

    def batch(self, step: int) -> list[Encoded]:
        """All rows."""
        return self.train

    def ends_epoch(self, step: int) -> bool:
        """Never: it is validated when asked."""
        return False


def footprint(setting: Setting, config: TrainConfig, passes: Sequence[Sequence[Member]]) -> Footprint:
    """Trace one step and one validation. `config` names micro_batch_tokens and gradient_checkpointing."""
    assert config.micro_batch_tokens is not None
    shares = setting.packs() and not config.lora_dropout
    trained = max(_training_parts(passes, config.micro_batch_tokens), key=lambda rows: _computed_tokens(rows, setting.packs(), shares))
    validated = max(
        _validation_parts(passes, config.micro_batch_tokens), key=lambda rows: _computed_tokens(rows, setting.packs(), shares), default=[]
    )
    return _trace(setting, config, trained, [example for _, example in validated])


def trainable_parameters(config: TrainConfig, model_config: PretrainedConfig) -> int:
    """Numbers that train per adapter, from shapes alone; for method full, the model's."""
    return counted(config, model_config, 0, 0)[0]


def counted(config: TrainConfig, model_config: PretrainedConfig, tokens: int, answer_tokens: int) -> tuple[int, int, float]:
    """From shapes alone: numbers that train per adapter, the base model's, and the FLOP that training on these tokens takes."""
    device = torch.device("cpu")
    with weightless(model_config, device, torch.float32) as (model, _):
        base = BaseModel(model, _Padding, device, torch.float32, "", "", "", "none")
        flops = training_flops(base.model, tokens, answer_tokens, full=config.method == "full")
        return _bank(config, base, ["counted"]).trained, base.model.num_parameters(), flops


def loaded_as(config: TrainConfig, dtype: torch.dtype) -> tuple[torch.dtype, str]:
    """The precision and the quantisation that the weights are held in, where products run in `dtype`."""
    method = _method(config)
    return torch.float32 if isinstance(method, Full) else dtype, method.quantization or config.quantization


def _bank(config: TrainConfig, base: BaseModel, names: list[str]) -> TrainingBank | WholeModel:
    """What trains, as the config's method says."""
    method = _method(config)
    if isinstance(method, Full):
        return WholeModel(base, names[0], Path())
    return TrainingBank(base.model, method, names, config)


def _method(config: TrainConfig) -> Method | Full:
    """The config's tuning method."""
    found: Method | Full = lookup(METHODS, "tuning method", config.method).load()(config)
    return found


@contextmanager
def _weightless_base(setting: Setting, config: TrainConfig) -> Iterator[tuple[BaseModel, LiveBytes]]:
    """The base model as `core.train.run` loads it for this config, without bytes."""
    dtype, quantization = loaded_as(config, setting.dtype)
    with weightless(setting.model_config, setting.device, dtype, quantization) as (model, live):
        yield BaseModel(model, _Padding, setting.device, setting.dtype, "", "", "", quantization), live


class _Padding:
    """A tokenizer as far as padding needs one."""

    pad_token_id = 0


def _trace(setting: Setting, config: TrainConfig, rows: list[Row], validation: list[Encoded]) -> Footprint:
    members = _heaviest_members(config, rows, validation)
    with _weightless_base(setting, config) as (base, live):
        weights = live.now
        trained = _bank(config, base, [member.name for member in members])
        cohort = Cohort(base, trained, members, say=lambda _: None)
        own = _own_bytes(cohort)
        beside = live.now - weights
        gradients = _fill_gradients(cohort)
        cohort.optimizer.step()
        moments = live.now - weights - beside - gradients
        trained.zero_gradients()
        before = live.now
        live.reset_peak()
        cohort.step()
        cohort.validation_losses([0])
        beyond = live.peak - weights - moments - max(beside, own)
        workspace = max(0, beyond - (live.forward_peak - before))
    objects = TENSOR_OBJECT_BYTES * len(trained.columns) if isinstance(trained, TrainingBank) and setting.device.type == "cpu" else 0
    each = len(members)
    return Footprint(weights, max(beside - own, 0), own // each + objects, moments // each, beyond - workspace, workspace)


def _own_bytes(cohort: Cohort) -> int:
    """Of all members: gradients and, of adapters, values and best copies."""
    if isinstance(cohort.bank, WholeModel):
        return sum(parameter.nbytes for parameter in cohort.bank.parameters.values())
    assert isinstance(cohort.bank, TrainingBank)
    return sum(tensor.nbytes for tensor in (cohort.bank.gradients, cohort.bank.values, cohort.bank.best))


def _fill_gradients(cohort: Cohort) -> int:
    """Give every parameter a gradient, so that the optimiser makes its moments. Returns the bytes that this took."""
    taken = 0
    for parameter in (parameter for own in cohort.rows for parameter, _ in own if parameter.grad is None):
        parameter.grad = torch.zeros_like(parameter)
        taken += parameter.grad.nbytes
    return taken


def _heaviest_members(config: TrainConfig, rows: list[Row], validation: list[Encoded]) -> list[Member]:
    """Members with these rows alone in every step; the first one validates."""
    found = []
    for _, pairs in groupby(rows, key=lambda row: row[0]):
        own = [example for _, example in pairs]
        found.append(_Heaviest(f"{len(found)}", "own", (), own, [] if found else validation, [], config))
    return found


def _training_parts(passes: Sequence[Sequence[Member]], tokens: int) -> Iterator[list[Row]]:
    """Micro-batches of the steps of each pass."""
    for members in passes:
        seen = 0
        for step in range(max(member.total_steps for member in members)):
            rows = [(k, row) for k, member in enumerate(members) if step < member.total_steps for row in member.batch(step)]
            yield from _parts(rows, tokens)
            seen += len(rows)
            if seen > ROWS_SEEN // len(passes):
                break


def _validation_parts(passes: Sequence[Sequence[Member]], tokens: int) -> Iterator[list[Row]]:
    for members in passes:
        every = ((k, row) for k, member in enumerate(members) for row in member.validation)
        while rows := list(islice(every, VALIDATED_TOGETHER)):
            yield from _parts(rows, tokens)


def _parts(rows: list[Row], tokens: int) -> Iterator[list[Row]]:
    for part in micro_batches([len(row) for _, row in rows], tokens):
        yield [rows[i] for i in part]


def _computed_tokens(rows: list[Row], packs: bool, shares: bool) -> int:
    """Tokens that go through the layers: padded to the longest row, or end to end with each member's common beginning once."""
    if not packs:
        return len(rows) * max(len(row) for _, row in rows)
    total = sum(len(row) for _, row in rows)
    for _, pairs in groupby(rows, key=lambda row: row[0]):
        prompts = [row.prompt[:-1] for _, row in pairs]
        total -= shares * (len(prompts) - 1) * len(commonprefix(prompts))
    return total
