"""BERTScore by the bert-score package, raw (no rescaling, no idf), each figure the mean over the answers (arXiv:1904.09675)."""

from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bert_score.utils import bert_cos_score_idf, get_model, get_tokenizer, model2layers
from transformers import AutoConfig, AutoModel, AutoTokenizer

from core.errors import UserError
from core.evaluate.batch import Batch, Measure, mean
from core.models import embed
from core.models.load import content_hash

_CHUNK = 1024
"""Pairs scored together: bert-score keeps every token's vector of them in memory."""


def bertscore(batch: Batch) -> list[Measure]:
    """Precision, recall and F1 of tokens matched by their contextual vectors. An empty answer scores 0, as bert-score itself defines."""
    encoder = _Encoder(batch.encoder, batch.device)
    scores = np.zeros((len(batch.predictions), 3))
    filled = [i for i, pair in enumerate(zip(batch.predictions, batch.references, strict=True)) if all(text.strip() for text in pair)]
    filled.sort(key=lambda i: batch.references[i])  # so that a reference is encoded once for all models
    for start in range(0, len(filled), _CHUNK):
        chunk = filled[start : start + _CHUNK]
        scores[chunk] = encoder.score([batch.predictions[i] for i in chunk], [batch.references[i] for i in chunk])
    names = ("bertscore_precision", "bertscore_recall", "bertscore_f1")
    note = encoder.cut_note(batch.predictions + batch.references)
    return [mean(name, scores[:, column], encoder.signature, note if column == 2 else "") for column, name in enumerate(names)]


class _Encoder:
    """The model that bert-score compares tokens with, cut at one layer."""

    def __init__(self, name: str, device: str) -> None:
        place = embed.encoder_folder(name)
        try:
            self.tokenizer, self.model, layer = _from_folder(place) if isinstance(place, Path) else _from_hub(place)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"encoder={name} can't be loaded for BERTScore ({str(error).strip().splitlines()[0][:200]}). "
                "Give 'bundled' (works offline), a folder that holds an encoder, or a hub id that this machine can reach."
            ) from error
        self.model = self.model.eval().to(device)
        longest = getattr(self.model.config, "max_position_embeddings", None) or self.tokenizer.model_max_length
        self.tokenizer.model_max_length = min(self.tokenizer.model_max_length, longest)  # DeBERTa's tokenizer names no limit
        called = f"all-MiniLM-L6-v2@{content_hash(place)[:12]}" if name == "bundled" and isinstance(place, Path) else name
        self.signature = (
            f"encoder:{called}|layer:{layer}|idf:no|rescaled:no|max_tokens:{self.tokenizer.model_max_length}"
            f"|bert_score:{version('bert_score')}|transformers:{version('transformers')}|torch:{torch.__version__}"
        )

    def score(self, predictions: list[str], references: list[str]) -> np.ndarray:
        """[n, 3] precision, recall, F1."""
        weights: dict[int, float] = defaultdict(lambda: 1.0)
        weights[self.tokenizer.sep_token_id] = weights[self.tokenizer.cls_token_id] = 0.0
        device = str(next(self.model.parameters()).device)
        scores: np.ndarray = bert_cos_score_idf(self.model, references, predictions, self.tokenizer, weights, device=device).numpy()
        return scores

    def cut_note(self, texts: list[str]) -> str:
        """A sentence when texts are longer than the encoder reads."""
        limit = self.tokenizer.model_max_length
        long = sum(len(text) > limit and len(self.tokenizer.tokenize(text)) > limit - 2 for text in texts)
        return f"BERTScore reads {limit} tokens: {long} of {len(texts)} texts are longer and were cut." if long else ""


def _from_folder(folder: Path) -> tuple[Any, Any, int]:
    """Tokenizer, model and number of layers. A folder is unknown to bert-score, so its last layer is used."""
    model = AutoModel.from_pretrained(folder, use_safetensors=True)
    if hasattr(model, "encoder") and hasattr(model, "decoder"):
        model = model.encoder
    return AutoTokenizer.from_pretrained(folder), model, model.config.num_hidden_layers


def _from_hub(name: str) -> tuple[Any, Any, int]:
    """The layer that bert-score's authors tuned for this model, else its last."""
    layer = model2layers.get(name) or AutoConfig.from_pretrained(name).num_hidden_layers
    return get_tokenizer(name), get_model(name, layer), layer
