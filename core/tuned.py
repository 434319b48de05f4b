"""Tuning your own model in your own loop; the methods are one word apart.

    tuned = tune(model, method="lora", r=8)     # any causal language model of transformers, on its device
    optimizer = torch.optim.AdamW(tuned.parameter_groups(learning_rate=5e-4))
    ...                                         # model(**batch).loss.backward(); optimizer.step(); optimizer.zero_grad()
    tuned.save("my-adapter")                    # a PEFT folder

What trains stands among the parameters of the model's own layers, so clipping, torch's DistributedDataParallel, accelerate and
transformers' Trainer see it. `core/train` trains the same adapters by the same code, many of them at once.
"""

import json
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from core import peft_config, peft_files
from core.adapter import Adapter
from core.config import TrainConfig
from core.errors import UserError
from core.models.load import content_hash, keep_differentiable
from core.train import METHODS
from core.train.method import Method
from core.train.training_bank import TrainingBank

_BESIDE = "adapter_"
"""What the names of trained tensors begin with in the layers that they stand beside."""
_SAVED = {"lora_A.weight": "A", "lora_B.weight": "B", "lora_magnitude_vector": "m", "vera_lambda_d": "d", "vera_lambda_b": "b"}
"""Names of tensors in PEFT's folders, and what the methods call them."""


def tune(model: Any, config: TrainConfig | None = None, **fields: Any) -> "Tuned":
    """Make a model ready for training in your own loop: put an adapter on it, or with method=full let all its weights train.

    `config` or its fields say how: method, r, lora_alpha, lora_dropout, target_modules, seed and what belongs to the method. The loop's
    settings (learning_rate, epochs, ...) are yours. Put the model on its device first. Raises UserError when the method and the model
    don't go together.
    """
    given = config.model_dump(exclude_unset=True) if config else {}
    config = TrainConfig(**{**given, **fields})
    _check(model, config)
    return TunedModel(model, config) if config.method == "full" else TunedAdapter(model, config)


def load(model: Any, folder: str | Path) -> "TunedAdapter":
    """The adapter of a folder that `save` or `python -m core train` wrote, on its model: it answers, and can be trained on.

    A folder that was saved in bf16 goes on from the rounded numbers. Raises UserError for other folders.
    """
    folder = Path(folder)
    info = peft_config.read_info(folder)
    if info.get("method") not in METHODS or not (folder / peft_config.CONFIG).exists():
        raise UserError(
            f"{folder} is no adapter that Lyceum trained: it lacks {peft_config.CONFIG}, or a run.json that names its method. "
            "A whole model is loaded by transformers, an adapter of others by peft."
        )
    config = TrainConfig(**{name: value for name, value in info["config"].items() if name in TrainConfig.model_fields})
    _check(model, config)
    tuned = TunedAdapter(model, config)
    try:
        tuned.read(folder)
    except UserError:
        tuned.detach()
        raise
    return tuned


class Tuned(ABC):
    """A model in training."""

    def __init__(self, model: Any, config: TrainConfig) -> None:
        self.model = model
        self.config = config
        self.steps = 0
        """Optimiser steps so far."""
        model._tuned = self
        self._step_hook = _after_steps(self)

    @abstractmethod
    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """What trains, for an optimiser: one group for each learning rate. LoRA+ has two, the other methods one."""

    @abstractmethod
    def save(self, folder: str | Path) -> Path:
        """Write what was trained, with a run.json."""

    def parameters(self) -> list[nn.Parameter]:
        """What trains."""
        return [parameter for group in self.parameter_groups(1.0) for parameter in group["params"]]

    def print_trainable_parameters(self) -> None:
        """Print the line that PEFT prints."""
        trained, total = sum(parameter.numel() for parameter in self.parameters()), self.model.num_parameters()
        print(f"trainable params: {trained:,} || all params: {total:,} || trainable%: {100 * trained / total:.4f}")

    def stepped(self) -> None:
        """One optimiser step is done. Torch's optimisers say so by themselves; another optimiser's loop calls this after each step."""
        self.steps += 1

    def detach(self) -> None:
        """Leave the model: nothing of it trains any more."""
        self._step_hook.remove()
        self.model.requires_grad_(False)
        del self.model._tuned

    def _about(self) -> dict[str, Any]:
        """The run.json."""
        base = self.model.name_or_path
        return {
            **{"role": "own", "categories": [], "base_model": base, "quantization": "nf4" if _in_4_bit(self.model) else "none"},
            **({"base_hash": content_hash(Path(base))} if Path(base).is_dir() else {}),
            **{"method": self.config.method, "seed": self.config.seed, "steps": self.steps},
            "config": self.config.model_dump(mode="json"),
        }


class TunedAdapter(Tuned):
    """A frozen model with one adapter in training."""

    def __init__(self, model: Any, config: TrainConfig) -> None:
        method: Method = METHODS[config.method].load()(config)
        model.requires_grad_(False)
        keep_differentiable(model)
        self.bank = TrainingBank(model, method, [config.name or config.method], config)
        for module, name, parameter in self._beside():
            module.register_parameter(name, parameter)
        super().__init__(model, config)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """What trains, for an optimiser: one group for each learning rate."""
        by_rate: dict[float, list[nn.Parameter]] = {}
        for _, name, parameter in self._beside():
            by_rate.setdefault(self.bank.method.rate(name.removeprefix(_BESIDE)), []).append(parameter)
        return [{"params": parameters, "lr": learning_rate * rate} for rate, parameters in by_rate.items()]

    def save(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> Path:
        """Write a PEFT folder with a run.json; `load`, PEFT and the other verbs of Lyceum read it."""
        about = Adapter(Path(folder).absolute().name, {}, self.model.name_or_path, self._about())
        return self.bank.method.write(self.bank.sites, 0, about, Path(folder), dtype)

    def read(self, folder: Path) -> None:
        """Take the numbers of an adapter of this method and these layers."""
        saved, info = _by_layer(peft_files.read_weights(folder)[0]), peft_config.read_info(folder)
        if saved.keys() != {site.layer for site in self.bank.sites}:
            raise UserError(f"{folder} changes other layers than this model has for it. Load it on the base model that it was trained on.")
        for site in self.bank.sites:
            self.bank.method.read(site, 0, saved[site.layer])
        self.steps = info.get("kept_step", info["steps"])

    def stepped(self) -> None:
        """One optimiser step is done."""
        super().stepped()
        self.bank.stepped(0, self.steps)

    def detach(self) -> None:
        """Take the adapter off its model, whose own weights were never changed."""
        self.bank.detach()
        for module, name, _ in self._beside():
            delattr(module, name)
        super().detach()

    def _beside(self) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
        """Each trained tensor: the layer beside which it stands, and its name there."""
        for site in self.bank.sites:
            for name, tensor in site.own[0].items():
                if isinstance(tensor, nn.Parameter):
                    yield site.module, f"{_BESIDE}{name}", tensor


class TunedModel(Tuned):
    """A model all of whose weights train. Small steps vanish in 16 bits: load it with dtype=torch.float32 and use autocast."""

    def __init__(self, model: Any, config: TrainConfig) -> None:
        model.requires_grad_(True)
        super().__init__(model, config)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """All weights, in one group."""
        return [{"params": list(self.model.parameters()), "lr": learning_rate}]

    def save(self, folder: str | Path) -> Path:
        """Write the model as transformers does, with a run.json. Save your tokenizer there too."""
        about = self._about()
        self.model.save_pretrained(folder)
        (Path(folder) / "run.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return Path(folder)


def _check(model: Any, config: TrainConfig) -> None:
    if hasattr(model, "_tuned"):
        raise UserError("This model is in training already, and a second adapter would stand beside the first. Call detach() on that one.")
    if config.method == "qlora" and not _in_4_bit(model):
        raise UserError(
            "method=qlora trains on a model in 4 bit, and this one is not. Load it with "
            "quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4'), or say method=lora."
        )
    if config.method == "full" and _in_4_bit(model):
        raise UserError("method=full changes every weight, and weights held in 4 bit can't be changed. Say method=qlora.")


def _in_4_bit(model: Any) -> bool:
    return bool(getattr(model, "is_loaded_in_4bit", False))


def _after_steps(tuned: Tuned) -> RemovableHandle:
    """Hear of each step of whichever torch optimiser holds the adapter: Delta-LoRA changes with it."""
    alive = weakref.ref(tuned)

    def stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        tuned = alive()
        if tuned and any(parameter is tuned.parameters()[0] for group in optimizer.param_groups for parameter in group["params"]):
            tuned.stepped()

    handle = register_optimizer_step_post_hook(stepped)
    weakref.finalize(tuned, handle.remove)
    return handle


def _by_layer(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of a PEFT folder as the methods hold them: matrices are [in, r] and [r, out]."""
    saved: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        for ending, name in _SAVED.items():
            if key.endswith(f".{ending}"):
                layer = key.removeprefix(peft_config.PREFIX).removesuffix(f".{ending}")
                saved.setdefault(layer, {})[name] = tensor.T if tensor.ndim == 2 else tensor
    return saved
