"""How many directions an adapter uses: the singular values of s B A, layer by layer, from its file alone. Light: numpy, no torch.

With B = Q_B R_B and A^T = Q_A R_A, the singular values of s B A are those of the small core s R_B R_A^T, so no full matrix is formed.
Effective rank (Roy and Vetterli 2007, The effective rank: a measure of effective dimensionality, EUSIPCO): exp of the entropy of the
singular values, each divided by their sum. k equal singular values have the effective rank k.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from core import model_shapes
from core.errors import UserError
from core.peft_config import PREFIX, WEIGHTS, odd_settings, read_config, scale_of

Array = np.ndarray[Any, np.dtype[Any]]
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_FACTORS = {"LORA": (".lora_A.weight", ".lora_B.weight"), "VERA": (".vera_lambda_d", ".vera_lambda_b")}
"""What the tensors of a layer end in, by PEFT type."""


@dataclass(frozen=True)
class Spectrum:
    """One layer's singular values."""

    layer: str
    values: Array
    """[r], largest first."""

    @property
    def effective_rank(self) -> float:
        """See above; 0 where the delta is 0."""
        total = self.values.sum()
        shares = self.values[self.values > 0] / total if total > 0 else np.empty(0)
        return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0

    @property
    def first_share(self) -> float:
        """Share of the squared size that lies along the first direction."""
        energy = float((self.values**2).sum())
        return float(self.values[0] ** 2) / energy if energy else 0.0


@dataclass(frozen=True)
class File:
    """A .safetensors file whose tensors are read one by one (format: huggingface.co/docs/safetensors)."""

    path: Path
    tensors: dict[str, Any]
    """What the header says of each tensor: dtype, shape, data_offsets."""
    metadata: dict[str, str]
    start: int
    """Of the numbers, in bytes."""

    @classmethod
    def open(cls, path: Path) -> "File":
        """Checks the header against the file. Raises UserError where there is none, or it is damaged."""
        if not path.exists():
            raise UserError(f"{path.parent.name} has no {WEIGHTS}, so there are no singular values to show. Choose another adapter.")
        try:
            safe_open(path, "np")
        except SafetensorError as error:
            raise UserError(f"{path} can't be read ({error}): it is damaged or half-copied. Copy it again.") from None
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        return cls(path, header, header.pop("__metadata__", {}), 8 + length)

    def read(self, name: str) -> Array:
        """A tensor in float64. numpy knows no bfloat16: its bits are the upper half of a float32."""
        about = self.tensors[name]
        begin, end = about["data_offsets"]
        with self.path.open("rb") as file:
            file.seek(self.start + begin)
            data = file.read(end - begin)
        if about["dtype"] == "BF16":
            numbers = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        elif about["dtype"] in _DTYPES:
            numbers = np.frombuffer(data, _DTYPES[about["dtype"]])
        else:
            raise UserError(f"{self.path}: {name} is {about['dtype']}, and an adapter's numbers are floats. Save the adapter again.")
        if not np.isfinite(numbers).all():
            raise UserError(f"{self.path}: {name} holds NaN or infinity. The training behind it diverged; train it again.")
        return numbers.reshape(about["shape"]).astype(np.float64)


def modules(folder: Path) -> dict[str, list[str]]:
    """Layers of each kind of target module, from first to last block: 'self_attn.q_proj' -> ['model.layers.0.self_attn.q_proj', ...].

    Raises UserError, in a sentence, where the folder holds no additive low-rank delta, or no weights.
    """
    config = read_config(folder)
    if odd := odd_settings({**config, "fan_in_fan_out": False}):  # a transposed layer has the same singular values
        raise UserError(
            f"{folder.name} has {'; '.join(odd)}, so what it adds is not s B A alone and has no singular values to show here. "
            "Choose a LoRA or VeRA adapter."
        )
    found: dict[str, list[str]] = {}
    for layer in sorted(_layers(File.open(folder / WEIGHTS), config), key=_by_number):
        kind = re.split(r"\.\d+\.", layer)[-1]
        found.setdefault(kind, []).append(layer)
    if not found:
        raise UserError(f"{folder.name} holds no factors of linear layers, so there is nothing to show. Choose another adapter.")
    return found


def spectra(folder: Path, layers: Sequence[str]) -> list[Spectrum]:
    """The singular values of s B A of these layers."""
    config, file = read_config(folder), File.open(folder / WEIGHTS)
    pairs = _vera(folder, config, file, layers) if config.get("peft_type") == "VERA" else _lora(config, file, layers)
    return [Spectrum(layer, singular_values(A, B)) for layer, (A, B) in zip(layers, pairs, strict=True)]


def singular_values(A: Array, B: Array) -> Array:
    """Of B A, from A [r, in] and B [out, r]: min(r, in, out) of them, largest first."""
    R_B, R_A = (np.asarray(np.linalg.qr(factor, mode="r")) for factor in (B, A.T))
    return np.linalg.svd(R_B @ R_A.T, compute_uv=False)


def _lora(config: Mapping[str, Any], file: File, layers: Sequence[str]) -> Iterator[tuple[Array, Array]]:
    """A, and B times the scale."""
    for layer in layers:
        A, B = (file.read(f"{PREFIX}{layer}.lora_{which}.weight") for which in "AB")
        if A.ndim != 2 or B.ndim != 2 or len(A) != B.shape[1]:
            raise _apart(file, layer)
        yield A, scale_of(config, layer) * B


def _vera(folder: Path, config: Mapping[str, Any], file: File, layers: Sequence[str]) -> Iterator[tuple[Array, Array]]:
    """diag(d) A and diag(b) B, each layer's corner of the common random pair (arXiv:2310.11454)."""
    if not {"base_model.vera_A", "base_model.vera_B"} <= file.tensors.keys():
        raise UserError(
            f"{folder.name} is a VeRA without its projections, which only torch can draw again. Save it again with save_projection=True."
        )
    A, B = (file.read(f"base_model.vera_{which}") for which in "AB")
    widths = _widths(folder, config, file)
    for layer in layers:
        d, b = (file.read(f"{PREFIX}{layer}.vera_lambda_{which}") for which in "db")
        if layer not in widths or not len(d) == len(A) == B.shape[1] or len(b) > len(B):
            raise _apart(file, layer)
        yield d[:, None] * A[:, : widths[layer]], b[:, None] * B[: len(b)]


def _apart(file: File, layer: str) -> UserError:
    return UserError(
        f"{file.path.parent.name}: what it holds for layer {layer} doesn't belong together, or not to its base model. "
        "The folder is damaged; save the adapter again."
    )


def _widths(folder: Path, config: Mapping[str, Any], file: File) -> dict[str, int]:
    """Inputs of each layer: Lyceum notes them in the file; else the base model's shape tells, by its folder or its name."""
    if "in_features" in file.metadata:
        return dict(json.loads(file.metadata["in_features"]))
    name = str(config.get("base_model_name_or_path") or "")
    known = [shape for shape in model_shapes.SHAPES.values() if shape.source == name]
    base = Path(name) / "config.json"
    said = json.loads(base.read_text(encoding="utf-8")) if base.is_file() else {}
    if said.get("model_type") in model_shapes.MODEL_TYPES:
        known = [model_shapes.of_config(said)]
    if not known:
        raise UserError(
            f"{folder.name} is a VeRA made elsewhere, and the shape of its base model '{name}' is not known here. "
            "Put the base model's folder into base_model_name_or_path of its adapter_config.json."
        )
    linears = known[0].linears
    return {layer: linears[layer.rpartition(".")[2]][0] for layer in _layers(file, config) if layer.rpartition(".")[2] in linears}


def _layers(file: File, config: Mapping[str, Any]) -> Iterator[str]:
    """Layers with both factors, in no order."""
    first, second = _FACTORS[config["peft_type"]]
    for name in file.tensors:
        if name.endswith(first) and name.removesuffix(first) + second in file.tensors:
            yield name.removesuffix(first).removeprefix(PREFIX)


def _by_number(layer: str) -> list[tuple[int, str]]:
    """Block 10 after block 9."""
    return [(int(part) if part.isdigit() else -1, part) for part in layer.split(".")]
