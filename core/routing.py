"""Routes: weights over adapters for each question, or for each token at each layer, in place of one merge for everything.

    weights = softmax(logits / temperature) over the top_k largest logits, 0 for the others

- By question (routers similarity and learned): logits = D e + b, where e is the question's embedding; one mix answers the question.
- By token (router arrow): logits_k = |x . v_k|, where x is what a layer reads and v_k the adapter's prototype there
  (Ostapenko et al. 2024, Towards Modular LLMs by Building and Reusing a Library of LoRAs, arXiv:2405.11157).

A route's folder holds run.json (adapters by name and content hash, settings) and router.safetensors, but no adapter's weights.
`core/merge` makes routes. Using one takes the question alone, never its category.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core import adapter, paths
from core.errors import UserError
from core.models.embed import Encoder

DIRECTIONS, BIAS = "directions", "bias"
"""Tensors of a route by question: D [K, dim] and b [K]. A route by token has one for each layer, under its name: prototypes [K, in]."""
_SETTINGS = ("router", "temperature", "top_k", "encoder", "hashes")


@dataclass(frozen=True)
class Route:
    """A route over K adapters."""

    name: str
    adapters: list[Path]
    categories: list[list[str]]
    """The categories of each adapter; for tables alone, no weight depends on them."""
    temperature: float
    top_k: int
    encoder: str
    tensors: dict[str, Tensor]

    @property
    def by_token(self) -> bool:
        """Whether each token at each layer has weights of its own."""
        return DIRECTIONS not in self.tensors

    def to(self, device: torch.device) -> "Route":
        """The same route with its tensors on a device."""
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})

    def weights(self, questions: Sequence[str]) -> Tensor:
        """Of a route by question: the weights of the adapters for each question, [questions, K], on the CPU."""
        embedded = torch.from_numpy(self._embedder.embed(questions))
        logits = embedded @ self.tensors[DIRECTIONS].cpu().T + self.tensors[BIAS].cpu()
        return largest(logits, self.temperature, self.top_k)

    @cached_property
    def _embedder(self) -> Encoder:
        return Encoder(self.encoder)

    def token_weights(self, layer: str, x: Tensor) -> Tensor:
        """Of a route by token: x [rows, tokens, in] -> [rows, tokens, K], as `core.bank.Router` asks for it.

        An adapter without a delta at this layer takes no part there.
        """
        prototypes = self.tensors.get(layer)
        if prototypes is None:
            return x.new_zeros(*x.shape[:-1], len(self.adapters), dtype=torch.float32)
        absent = (prototypes == 0).all(-1)
        logits = (x.float() @ prototypes.T).abs().masked_fill(absent, -torch.inf)
        return largest(logits, self.temperature, self.top_k)


def largest(logits: Tensor, temperature: float, top_k: int) -> Tensor:
    """softmax(logits / temperature) over the `top_k` largest of the last axis; 0 for the others."""
    values, places = logits.topk(top_k, dim=-1)
    return torch.zeros_like(logits).scatter(-1, places, (values / temperature).softmax(-1))


def write(folder: Path, info: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Write a route's folder. `info` becomes run.json; its 'route' has the adapters' names and hashes and the settings."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, folder / paths.ROUTER)
    (folder / paths.ROUTER).chmod(0o644)  # safetensors writes files that only their owner can read
    (folder / "run.json").write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def find(name: str) -> Path | None:
    """The folder of a route, by its name under merged_adapters/ or its path; None where there is none."""
    places = (paths.merged_adapters() / name, paths.home() / name, Path(name).expanduser())
    return next((place for place in places if is_route(place)), None)


def is_route(folder: Path) -> bool:
    """Whether a folder holds a route."""
    return (folder / paths.ROUTER).exists()


def load(folder: Path) -> Route:
    """The route in a folder. Raises UserError when an adapter of it is gone or has changed, or when the folder is damaged."""
    said = _said(folder)
    for name, recorded in zip(said["adapters"], said["hashes"], strict=True):
        if adapter.content_hash(adapter.find(name)) != recorded:
            raise UserError(
                f"The adapter '{name}' has changed since the route '{folder.name}' was made. Make the route again with replace=true."
            )
    try:
        tensors = load_file(folder / paths.ROUTER)
    except SafetensorError as error:
        raise UserError(
            f"{folder / paths.ROUTER} can't be read ({error}): it is damaged or half-copied. Copy it again, or make the route again."
        ) from None
    found = [adapter.find(name).resolve() for name in said["adapters"]]
    return Route(folder.name, found, said["categories"], said["temperature"], said["top_k"], said["encoder"], tensors)


def content_hash(folder: Path) -> str:
    """sha256 over what decides a route's weights: settings, adapters by their hashes, and router.safetensors."""
    said = _said(folder)
    digest = hashlib.sha256(json.dumps([said[key] for key in _SETTINGS]).encode())
    digest.update((folder / paths.ROUTER).read_bytes())
    return digest.hexdigest()[:16]


def _said(folder: Path) -> dict[str, Any]:
    info = adapter.read_info(folder)
    if info.get("role") != "route":
        raise UserError(f"{folder} has a {paths.ROUTER}, but no run.json of a route. Copy the whole folder, or make the route again.")
    said: dict[str, Any] = info["route"]
    return said
