"""Natural language inference: does one text follow from another, or contradict it? Bowman et al. 2015, SNLI, arXiv:1508.05326

Any sequence classifier whose labels say entailment and contradiction, as those trained on MNLI (Williams et al. 2018, arXiv:1704.05426).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UserError
from core.models import hub

if TYPE_CHECKING:
    import numpy as np

ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
"""Columns of the probabilities."""
_LONGEST = 512
"""Tokens of both texts together, unless the model reads fewer."""


class Entailment:
    """A model of natural language inference on the CPU, in fp32: a folder or a hub id."""

    def __init__(self, name: str) -> None:
        """Load it. Raises UserError where there is no such model, or where it is none of inference."""
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        self.name = name
        place = _place(name)
        try:
            config = AutoConfig.from_pretrained(place)
            self._columns = _columns(config.id2label, name)
            self._tokenizer = AutoTokenizer.from_pretrained(place)
            self._model, loading = AutoModelForSequenceClassification.from_pretrained(
                place, dtype="float32", use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"The nli_model '{name}' can't be loaded ({str(error).strip().splitlines()[0]}). "
                "Give a folder that holds a classifier, or a hub id that this machine can reach; or leave nli_model empty."
            ) from None
        if lacking := sorted(loading["missing_keys"]):
            raise UserError(
                f"The nli_model '{name}' lacks the weights of its classifier ({lacking[0]}), so it would answer by chance. Name another."
            )
        self._model.eval()
        positions = getattr(config, "max_position_embeddings", _LONGEST) - 2  # RoBERTa counts them from 2
        self.max_tokens: int = min(_LONGEST, positions, self._tokenizer.model_max_length)

    def probabilities(self, premises: Sequence[str], hypotheses: Sequence[str], batch_size: int = 32) -> "np.ndarray":
        """[n, 3] of each hypothesis given its premise: entailment, neutral, contradiction; neutral is whatever is neither.

        Equal pairs are asked once. Of a pair longer than `max_tokens` the longer text is cut.
        """
        import numpy as np
        import torch

        pairs = list(zip(premises, hypotheses, strict=True))
        distinct = sorted(set(pairs), key=lambda pair: -len(pair[0]) - len(pair[1]))
        found: dict[tuple[str, str], np.ndarray] = {}
        with torch.no_grad():
            for start in range(0, len(distinct), batch_size):
                batch = distinct[start : start + batch_size]
                tokens = self._tokenizer(
                    *map(list, zip(*batch, strict=True)),
                    padding=True,
                    truncation="longest_first",
                    max_length=self.max_tokens,
                    return_tensors="pt",
                )
                shares = self._model(**tokens).logits.softmax(-1)[:, self._columns].numpy()
                found.update(zip(batch, shares, strict=True))
        entailed, against = np.array([found[pair] for pair in pairs]).reshape(-1, 2).T
        return np.stack([entailed, 1 - entailed - against, against], axis=1)


def _place(name: str) -> str:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder)
    hub.settle()
    return name


def _columns(labels: dict[int, str], name: str) -> list[int]:
    """Where entailment and contradiction stand among a model's classes."""
    places = {str(label).strip().lower(): place for place, label in labels.items()}
    if not {"entailment", "contradiction"} <= places.keys():
        raise UserError(
            f"The nli_model '{name}' is no model of natural language inference: its labels are {', '.join(map(str, labels.values()))}. "
            "Name one whose labels include entailment and contradiction, or leave nli_model empty."
        )
    return [places["entailment"], places["contradiction"]]
