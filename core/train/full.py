"""Full fine-tuning: every weight of the model trains, and the result is a whole model.

Per weight it takes 16 bytes: the weight, its gradient and AdamW's two moments, each in fp32. With precision bf16 or fp16 the products
run in that precision on copies of the weights (mixed precision, Micikevicius et al. 2018, arXiv:1710.03740); the fp32 weights are what
learns, since small steps would vanish in 16 bits. Several processes each hold their share of these 16 bytes (FSDP, Zhao et al. 2023,
arXiv:2304.11277). The kept best weights wait on disk.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from core.adapter import Adapter
from core.config import TrainConfig
from core.data.packing import Packed
from core.errors import UserError
from core.models.load import BaseModel, choose_device, choose_dtype, load
from core.models.loss import weighted_loss
from core.train.distributed import ALONE, Team, laid_out_as, whole


class Full:
    """The method: what it asks of the base model."""

    quantization = None

    def __init__(self, config: TrainConfig) -> None:
        if config.quantization != "none":
            raise UserError(
                f"Full fine-tuning changes every weight, and weights held in 4 bit (quantization={config.quantization}) can't be changed. "
                "Say quantization=none, or method=qlora."
            )
        if config.lora_dropout:
            raise UserError(
                f"lora_dropout={config.lora_dropout} hides inputs from an adapter, and method=full trains none. Set lora_dropout=0."
            )
        self.config = config

    def load(self, team: Team = ALONE) -> BaseModel:
        """The model with fp32 weights, to compute in the config's precision. Each process of several brings its share to its device."""
        config, device = self.config, choose_device(self.config.device)
        base = load(config.base_model, precision="fp32", device="cpu" if team.size > 1 else config.device)
        return replace(base, device=device, dtype=choose_dtype(config.precision, device))


class WholeModel:
    """A model all of whose weights train: what a training bank is to adapters, with one member."""

    def __init__(self, base: BaseModel, name: str, scratch: Path, team: Team = ALONE) -> None:
        self.base = base
        self.model = base.model.requires_grad_(True)
        self.names = [name]
        self.team = team
        self.in_step = team.size > 1
        self.best = scratch / "best.safetensors"
        self._loss = partial(weighted_loss, self.model)
        if self.in_step:
            shard(self.model, base.device)
            self._loss = self.model.answer_loss
        self.parameters: dict[str, nn.Parameter] = dict(self.model.named_parameters())
        """Tied weights stand here once."""
        self.trained = sum(parameter.numel() for parameter in self.parameters.values())

    @contextmanager
    def segments(self, parts: Sequence[tuple[int, int]], dropout: Sequence[tuple[int, int]] | None = None) -> Iterator[None]:
        """All tokens belong to the one member."""
        yield

    def loss(self, batch: Packed, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of weights x losses, to be differentiated, and each answer token's loss in fp32, [answer tokens]."""
        mixed = self.base.dtype != torch.float32
        with torch.autocast(self.base.device.type, self.base.dtype) if mixed else nullcontext():
            return self._loss(batch, weights)

    def rows(self, member: int) -> list[tuple[nn.Parameter, float]]:
        """All weights, at the full learning rate."""
        return [(parameter, 1.0) for parameter in self.parameters.values()]

    def unreduced(self) -> list[Tensor]:
        """None: FSDP adds gradients up in the backward pass."""
        return []

    def clip(self, members: Sequence[int], max_norm: float, scales: Sequence[float]) -> list[float]:
        """Divide the gradients by the loss scale, then scale them down to `max_norm`. Returns the norm before it."""
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        norm = whole(nn.utils.get_total_norm(gradients)).item() / scales[0]
        torch._foreach_mul_(gradients, min(1.0, max_norm / (norm + 1e-6)) / scales[0])
        return [norm]

    def zero_gradients(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def stepped(self, member: int, step: int) -> None:
        """Nothing follows a step."""

    def keep(self, member: int) -> None:
        """Write the weights to disk. A run that is resumed before this point comes by here again, with the same weights."""
        tensors = self._gathered(torch.float32)
        if self.team.leads:
            save_file(tensors, self.best)
        self.team.wait()

    @torch.no_grad()
    def restore(self, member: int) -> None:
        """Read what `keep` wrote."""
        with safe_open(self.best, "pt") as saved:
            for name, parameter in self.parameters.items():
                parameter.copy_(laid_out_as(saved.get_tensor(name).to(self.base.device), parameter))

    def state(self) -> dict[str, Tensor]:
        """The weights."""
        return {f"weights/{name}": parameter for name, parameter in self.parameters.items()}

    def detach(self) -> None:
        """The model stays trained; nothing of it trains any more."""
        self.model.requires_grad_(False)

    def write(self, member: int, about: Adapter, folder: Path, dtype: torch.dtype) -> None:
        """Save the model as transformers does, with its tokenizer and run.json. All processes must come here; the first one writes."""
        tensors = self._gathered(dtype)
        if not self.team.leads:
            return
        self.model.save_pretrained(folder, state_dict=tensors)
        self.base.tokenizer.save_pretrained(folder)
        for file in folder.glob("*.safetensors"):
            file.chmod(0o644)  # safetensors writes files that only their owner can read
        config = json.loads((folder / "config.json").read_text())
        _write_json(folder / "config.json", config | {"dtype": str(dtype).removeprefix("torch.")})
        _write_json(folder / "run.json", about.info)

    def _gathered(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """All weights on the CPU, in the first process; the others only help."""
        found = {}
        for name, parameter in self.parameters.items():
            tensor = whole(parameter.detach())
            if self.team.leads:
                found[name] = tensor.to("cpu", dtype).contiguous()
        return found


def shard(model: Any, device: torch.device) -> None:
    """Lay the weights out over all processes, layer by layer; each step's gradients are added up. `model.answer_loss` is the way in."""
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    model.answer_loss = partial(weighted_loss, model)
    for module in (*model.get_decoder().layers, model):
        fully_shard(module, mesh=mesh)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    register_fsdp_forward_method(model, "answer_loss")


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
