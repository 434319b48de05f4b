"""What a training run takes, before anything is loaded: its memory by parts, whether it fits, and what makes it fit.

`core/train/footprint.py` counts the tensors. On CUDA that is what `torch.cuda.max_memory_allocated` will say. On a CPU the estimate is
of the resident size of the process, above what it had before the model was loaded; what that takes beside tensors was measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import AutoConfig

from core.config import TrainConfig
from core.data.prompt import Encoded
from core.models.load import choose_device, choose_dtype, resolve
from core.models.memory import available_bytes, stored_bytes
from core.train.cohort import Member
from core.train.footprint import Footprint, Setting, footprint, loaded_as
from core.train.passes import MICRO_BATCH_TOKENS
from core.train.token_store import lengths
from core.wording import listed

MB = 1 << 20
LIBRARIES = 130 * MB
"""Code and tables that loading and the first step bring into a process on a CPU; measured."""
HEAP = 0.5
"""How far a CPU's heap outgrows activations and temporaries, as their share; measured with glibc 2.36. It hands out aligned blocks with
a margin, so that a block that comes back is too small for the next of the same size (sourceware.org, bug 14581)."""
MATRIX_LIBRARY = {True: 32 * MB, False: 8 * MB + 128 * 1024}
"""Work space that cuBLAS takes from torch's allocator: from Hopper on, and before (:4096:2:16:8)."""
LEFT_FREE = 0.1
"""Share of the available memory that a choice leaves free: estimates are not exact."""
STORED = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""How safetensors calls a precision."""


@dataclass(frozen=True)
class Choice:
    """How a run goes through its memory."""

    micro_batch_tokens: int
    adapters_per_pass: int
    gradient_checkpointing: bool


@dataclass(frozen=True)
class Estimate:
    """The peak of a run, in MB (2^20 bytes), by what it is for."""

    weights_mb: float
    """The base model."""
    adapters_mb: float
    """What trains, its gradients and its kept best copy, and what a method holds beside it. Method full: the gradients."""
    optimizer_mb: float
    """AdamW's two moments."""
    activations_mb: float
    """What the forward pass keeps for the backward pass."""
    workspace_mb: float
    """What more the heaviest moment takes: temporaries, a chunk of logits, the allocator's and the libraries' own; or loading."""
    available_mb: float
    advice: str = ""
    """What makes it fit or would make it fit, in a sentence; empty where it just fits."""

    @property
    def total_mb(self) -> float:
        """All parts together."""
        return sum(self.parts_mb.values())

    @property
    def fits(self) -> bool:
        """Whether the memory that is free now suffices."""
        return self.total_mb <= self.available_mb

    @property
    def parts_mb(self) -> dict[str, float]:
        """The parts by name."""
        return {
            "weights": self.weights_mb,
            "adapters": self.adapters_mb,
            "optimiser": self.optimizer_mb,
            "activations": self.activations_mb,
            "workspace": self.workspace_mb,
        }


@dataclass
class Estimator:
    """Estimates for one config and its members. Each way through memory is traced once (seconds for a model of 7B)."""

    config: TrainConfig
    members: Sequence[Member]

    def __post_init__(self) -> None:
        self.folder = resolve(self.config.base_model)
        self.device = choose_device(self.config.device)
        dtype = choose_dtype(self.config.precision, self.device)
        self.setting = Setting(AutoConfig.from_pretrained(self.folder), self.device, dtype)
        self.available = available_bytes(self.device)
        self.longest = max(int(lengths(member.train).sum(axis=1).max()) for member in self.members)
        self._traced: dict[Choice, Footprint] = {}

    def footprint(self, choice: Choice) -> Footprint:
        """The tensors' bytes."""
        if choice not in self._traced:
            said = {"micro_batch_tokens": choice.micro_batch_tokens, "gradient_checkpointing": choice.gradient_checkpointing}
            starts = range(0, len(self.members), choice.adapters_per_pass)
            passes = [self.members[start : start + choice.adapters_per_pass] for start in starts]
            self._traced[choice] = footprint(self.setting, self.config.model_copy(update=said), passes)
        return self._traced[choice]

    def parts(self, choice: Choice, adapters: int | None = None) -> dict[str, float]:
        """The parts of the peak; with `adapters`, as if so many went side by side through the same micro-batches."""
        found = self.footprint(choice)
        count = adapters or min(choice.adapters_per_pass, len(self.members))
        parts: dict[str, float] = {
            "weights": found.weights,
            "adapters": found.common + count * found.adapter,
            "optimizer": count * found.moments,
            "activations": found.activations,
            "workspace": found.workspace + self._beside(found),
        }
        parts["workspace"] += max(0.0, self._loading(found) - sum(parts.values()))
        return parts

    def estimate(self, choice: Choice) -> Estimate:
        """The peak of training as `choice` says."""
        parts = {f"{name}_mb": value / MB for name, value in self.parts(choice).items()}
        return Estimate(**parts, available_mb=self.available / MB)

    def fits(self, choice: Choice) -> bool:
        """Whether a single adapter leaves something free."""
        return sum(self.parts(choice, adapters=1).values()) <= self._room

    def choice(self) -> Choice:
        """The largest micro-batch that fits, up to the device's default, and beside it as many adapters as fit."""
        most = self.config.micro_batch_tokens or MICRO_BATCH_TOKENS[self.device.type]
        least = most if self.config.micro_batch_tokens else min(self.longest, most)
        said = self.config.gradient_checkpointing
        for recomputing in [False, True] if said is None else [said]:
            fewest = max(least, most // 4) if said is None and not recomputing else least
            tokens = self._most_tokens(fewest, most, recomputing)
            if tokens:
                break
        return self._with_adapters(Choice(tokens or least, len(self.members), recomputing))

    def advised(self, choice: Choice) -> Estimate:
        """The estimate, with a sentence on what makes it fit or would."""
        found = self.estimate(choice)
        return replace(found, advice=self._measures(choice) if found.fits else self._remedies(choice))

    @property
    def _room(self) -> float:
        return self.available * (1 - LEFT_FREE)

    def _beside(self, found: Footprint) -> float:
        """What the device's memory holds beside tensors while training."""
        if self.device.type == "cpu":
            return LIBRARIES + HEAP * (found.activations + found.workspace)
        return MATRIX_LIBRARY[torch.cuda.get_device_capability(self.device) >= (9, 0)] if self.device.type == "cuda" else 0

    def _loading(self, found: Footprint) -> float:
        """The peak while loading. On a CPU the pages of weight files count while they are read, and unless they are used as they are."""
        stored, (dtype, quantization) = stored_bytes(self.folder), loaded_as(self.config, self.setting.dtype)
        as_they_are = set(stored) == {STORED[dtype]} and quantization == "none"
        if self.device.type != "cpu" or as_they_are:
            return found.weights
        return LIBRARIES + found.weights + stored.total()

    def _most_tokens(self, least: int, most: int, recomputing: bool) -> int | None:
        """The largest micro-batch between these that fits; memory grows evenly with its tokens."""
        high, low = (Choice(tokens, len(self.members), recomputing) for tokens in (most, least))
        if self.fits(high):
            return most
        if least >= most or not self.fits(low):
            return None
        over, under = (sum(self.parts(choice, adapters=1).values()) for choice in (high, low))
        between = least + int((most - least) * (self._room - under) / (over - under)) // 16 * 16
        return between if self.fits(replace(low, micro_batch_tokens=between)) else least

    def _with_adapters(self, choice: Choice) -> Choice:
        """As many adapters per pass as fit beside the micro-batch, evenly dealt over the passes."""
        found = self.footprint(choice)
        left = self._room - sum(self.parts(choice, adapters=1).values())
        beside_first = max(0, int(left // (found.adapter + found.moments)))
        passes = -(-len(self.members) // (1 + beside_first))
        return replace(choice, adapters_per_pass=-(-len(self.members) // passes))

    def _measures(self, choice: Choice) -> str:
        """What was done to make it fit."""
        done = []
        if choice.micro_batch_tokens < (self.config.micro_batch_tokens or MICRO_BATCH_TOKENS[self.device.type]):
            done.append(f"micro-batches of {choice.micro_batch_tokens:,} tokens")
        if choice.gradient_checkpointing and self.config.gradient_checkpointing is None:
            done.append("gradient checkpointing")
        if choice.adapters_per_pass < len(self.members):
            done.append(f"{choice.adapters_per_pass:,} adapters at a time")
        return f"With {listed(done)}." if done else ""

    def _remedies(self, choice: Choice) -> str:
        """What would make it fit, one measure added to the other; the cheapest first."""
        config, said = self.config, []
        for change in self._changes(choice):
            config = config.model_copy(update=change)
            said += [f"{name}={str(value).lower()}" for name, value in change.items()]
            other = Estimator(config, _cut(self.members, config.max_seq_length))
            found = other.estimate(Choice(min(choice.micro_batch_tokens, other.longest), 1, bool(config.gradient_checkpointing)))
            if found.fits:
                return f"It would fit with {listed(said)}: {found.total_mb:,.0f} MB."
        return f"Not even {listed(said)} would make it fit. Use a smaller base_model, or a machine with more memory."

    def _changes(self, choice: Choice) -> Iterator[dict[str, object]]:
        """Changes of the config that save memory: they cost speed, then the quality of the weights, then the ends of long rows."""
        if choice.micro_batch_tokens > self.longest:
            yield {"micro_batch_tokens": self.longest}
        if not choice.gradient_checkpointing:
            yield {"gradient_checkpointing": True}
        if self.config.method == "full":
            yield {"method": "lora"}
        if loaded_as(self.config, self.setting.dtype)[1] == "none":
            yield {"method": "qlora"} if self.config.method in ("full", "lora") else {"quantization": "nf4"}
        yield {"max_seq_length": max(16, self.longest // 2)}


def _cut(members: Sequence[Member], length: int) -> list[Member]:
    """Members whose rows have at most so many tokens."""
    return [replace(each, train=_Shortened(each.train, length), validation=_Shortened(each.validation, length)) for each in members]


@dataclass(frozen=True)
class _Shortened(Sequence[Encoded]):
    """Rows of at most so many tokens. At least one answer token stays, so that the row counts."""

    rows: Sequence[Encoded]
    length: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _Shortened(self.rows[index], self.length)
        row = self.rows[index]
        return Encoded(row.prompt[: self.length - 1], row.answer[: max(1, self.length - len(row.prompt))], True)
