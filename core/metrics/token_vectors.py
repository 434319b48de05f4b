"""Tokens as contextual vectors, and how well two texts' tokens match: the two halves of BERTScore (arXiv:1904.09675).

Tokens, layers and matching are the bert-score package's own functions. It encodes all texts in every call; here the halves stand apart,
so that a text is encoded once, however many others it is compared with.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bert_score.utils import bert_encode, get_model, get_tokenizer, greedy_cos_idf, model2layers, padding, sent_encode
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer

from core.errors import UserError
from core.models import embed
from core.models.load import content_hash

_TOKENS = {"cpu": 1024, "cuda": 65536, "mps": 8192}
"""Tokens encoded together, padding included: a CPU is quickest where they stay in its cache."""
_PAIRS = 64
"""Pairs matched together."""
_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "*.model")


@dataclass(frozen=True)
class Text:
    """A text's tokens and their vectors."""

    ids: tuple[int, ...]
    vectors: Tensor
    """[tokens, width], fp32, as the encoder's layer gives them."""


class TokenEncoder:
    """The model that BERTScore compares tokens with, cut at one layer. Its weights are read when the first text is encoded."""

    def __init__(self, name: str, device: str) -> None:
        """`name`: 'bundled', a folder, or a hub id. Raises UserError when there is no such encoder."""
        self._name, self._place, self.device = name, embed.encoder_folder(name), torch.device(device)
        with self._readable():
            config = AutoConfig.from_pretrained(self._place)
            self._tokenizer = AutoTokenizer.from_pretrained(self._place) if self._is_folder else get_tokenizer(self._place)
            digest = _digest(self._place) if isinstance(self._place, Path) else str(config._commit_hash)
        longest = getattr(config, "max_position_embeddings", None) or self._tokenizer.model_max_length
        self.max_tokens = min(self._tokenizer.model_max_length, longest)  # DeBERTa's tokenizer names no limit
        self._tokenizer.model_max_length = self.max_tokens
        known = None if self._is_folder else model2layers.get(name)
        self.layer = known or config.num_hidden_layers
        """The one that bert-score's authors tuned for this model, else its last: a folder is unknown to bert-score."""
        self.called = f"{'all-MiniLM-L6-v2' if name == 'bundled' else Path(name).name if self._is_folder else name}@{digest[:12]}"
        """Name and content hash."""
        self._model: Any = None

    def ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a text that has any, cut at `max_tokens`."""
        return tuple(sent_encode(self._tokenizer, text))

    def is_cut(self, text: str, ids: Sequence[int]) -> bool:
        """Whether the text has more tokens than the encoder reads."""
        return len(ids) >= self.max_tokens and len(self._tokenizer.tokenize(text)) > self.max_tokens - 2

    def encode(self, texts: Sequence[tuple[int, ...]]) -> list[Text]:
        """Vectors of texts given as tokens, in their order. Texts of like length go together, so that little is padding."""
        model, encoded = self._loaded(), dict[int, Text]()
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        while order:
            most = max(1, _TOKENS[self.device.type] // len(texts[order[0]]))
            together, order = order[:most], order[most:]
            padded, _, mask = padding([texts[i] for i in together], self._tokenizer.pad_token_id)
            vectors = bert_encode(model, padded.to(self.device), mask.to(self.device))
            encoded |= {i: Text(texts[i], vectors[row, : len(texts[i])].clone()) for row, i in enumerate(together)}
        return [encoded[i] for i in range(len(texts))]

    def match(self, pairs: Sequence[tuple[Text, Text]]) -> np.ndarray:
        """[n, 3] precision, recall and F1 of (prediction, reference) pairs: raw, no idf weights."""
        scores = np.zeros((len(pairs), 3))
        order = sorted(range(len(pairs)), key=lambda i: sum(len(text.ids) for text in pairs[i]))
        for start in range(0, len(order), _PAIRS):
            together = order[start : start + _PAIRS]
            predictions, references = (self._padded([pairs[i][side] for i in together]) for side in (0, 1))
            scores[together] = torch.stack(greedy_cos_idf(*references, *predictions), dim=-1).cpu().numpy()
        return scores

    def _padded(self, texts: Sequence[Text]) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors, mask and weights, as greedy_cos_idf takes them: the weight of the tokens that begin and end a text is 0.

        There, a token that is like none of the other text's (all cosines negative) counts 0 where that text is padded, and less where it
        is the longest of its batch. Here each text is padded by one place at least, so a score does not depend on its company.
        """
        ends = {self._tokenizer.sep_token_id, self._tokenizer.cls_token_id}
        longest = max(len(text.ids) for text in texts) + 1
        vectors = torch.full((len(texts), longest, texts[0].vectors.shape[1]), 2.0, device=self.device)
        mask, weights = torch.zeros(len(texts), longest, dtype=torch.bool), torch.zeros(len(texts), longest)
        for row, text in enumerate(texts):
            vectors[row, : len(text.ids)] = text.vectors
            mask[row, : len(text.ids)] = True
            weights[row, : len(text.ids)] = torch.tensor([float(token not in ends) for token in text.ids])
        return vectors, mask.to(self.device), weights.to(self.device)

    def _loaded(self) -> Any:
        if self._model is None:
            with self._readable():
                model = _from_folder(self._place) if isinstance(self._place, Path) else get_model(self._place, self.layer)
            self._model = model.eval().to(self.device)
        return self._model

    @property
    def _is_folder(self) -> bool:
        return isinstance(self._place, Path)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"encoder={self._name} can't be loaded for BERTScore ({str(error).strip().splitlines()[0][:200]}). "
                "Give 'bundled' (works offline), a folder that holds an encoder, or a hub id that this machine can reach."
            ) from error


def _from_folder(folder: Path) -> Any:
    """The whole model, or the encoder of one that also decodes."""
    model = AutoModel.from_pretrained(folder, use_safetensors=True)
    return model.encoder if hasattr(model, "encoder") and hasattr(model, "decoder") else model


def _digest(folder: Path) -> str:
    """sha256 of all that decides an encoder's vectors: weights, shape and tokenizer."""
    digest = hashlib.sha256(content_hash(folder).encode())
    for file in sorted(file for pattern in _FILES for file in folder.glob(pattern)):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
