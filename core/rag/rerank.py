"""What orders found passages anew: late interaction with the encoder's token vectors, or a cross-encoder."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from core.config import RagConfig
from core.errors import UserError
from core.models import hub
from core.models.embed import Encoder

Reranker = Callable[[str, Sequence[str]], list[float]]
"""A question and passages -> a score each; higher is better."""
BUNDLED = "bundled"
_KEPT = 2000
"""Passages whose token vectors are kept in memory, in half precision: 100 MB at 64 tokens of 384 numbers."""
_TOGETHER = 32
"""Passages that a cross-encoder reads side by side."""


def open_reranker(config: RagConfig) -> Reranker:
    """The reranker that a config names. Raises UserError when it can't be loaded."""
    if config.reranker == BUNDLED:
        return LateInteraction(Encoder(BUNDLED if config.embedding_url else config.encoder))
    return CrossEncoder(config.reranker)


class LateInteraction:
    """MaxSim: each token of the question looks for the token of the passage that is most like it (Khattab and Zaharia 2020).

    The score is the mean of these cosines over the question's tokens. ColBERT trains its encoder for this; here it is one that was
    trained for whole sentences, so it is no ColBERT. An embedding server gives no token vectors: then it is the bundled encoder's.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, question: str, passages: Sequence[str]) -> list[float]:
        """Scores between -1 and 1."""
        [asked] = self._encoder.token_vectors([question])
        return [float((asked @ tokens.float().T).amax(1).mean()) for tokens in self._tokens(passages)]

    def _tokens(self, passages: Sequence[str]) -> list[Tensor]:
        """[tokens, dim] of each passage, those of passages that were seen before from memory."""
        new = [text for text in dict.fromkeys(passages) if text not in self._known]
        self._known |= zip(new, (tokens.half() for tokens in self._encoder.token_vectors(new)), strict=True)
        found = [self._known[text] for text in passages]
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return found


class CrossEncoder:
    """A model that reads question and passage together and gives one logit (Nogueira and Cho 2019), on the CPU in fp32."""

    def __init__(self, name: str) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        hub.settle()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name)
            self._model = AutoModelForSequenceClassification.from_pretrained(name, dtype="float32", use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            raise UserError(
                f"reranker={name} can't be loaded ({str(error).strip().splitlines()[0][:200]}). "
                "Give 'bundled' (works offline), or a folder or hub id of a cross-encoder."
            ) from None
        if self._model.config.num_labels != 1:
            raise UserError(
                f"reranker={name} gives {self._model.config.num_labels} numbers for a question with a passage; a cross-encoder gives one. "
                "Give another, or 'bundled'."
            )
        self._longest = min(self._tokenizer.model_max_length, self._model.config.max_position_embeddings)

    @torch.no_grad()
    def __call__(self, question: str, passages: Sequence[str]) -> list[float]:
        """Logits; a passage that is too long is cut."""
        scores: list[float] = []
        for start in range(0, len(passages), _TOGETHER):
            some = list(passages[start : start + _TOGETHER])
            tokens = self._tokenizer(
                [question] * len(some), some, padding=True, truncation="only_second", max_length=self._longest, return_tensors="pt"
            )
            scores += self._model(**tokens).logits[:, 0].tolist()
        return scores
