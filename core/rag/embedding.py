"""Embeddings for LlamaIndex: an encoder of this machine, or a model behind an OpenAI-compatible /v1/embeddings. Vectors have length 1."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding

from core.config.rag import IndexConfig
from core.errors import UserError, shown

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

    from core.models.embed import Encoder

_SERVER_TOKENS = 8191
"""Longest text that embedding servers commonly read, in tokens."""
_SERVER_BATCH = 64
_TIMEOUT_SECONDS = 120.0
_RETRIES = 4


class LocalEmbedding(BaseEmbedding):
    """An encoder on the CPU, loaded when it is first needed."""

    _encoder: "Encoder | None" = None

    @property
    def encoder(self) -> "Encoder":
        """The encoder itself. Raises UserError when it can't be loaded."""
        if self._encoder is None:
            from core.models.embed import Encoder

            self._encoder = Encoder(self.model_name)
        return self._encoder

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, special ones included."""
        return self.encoder.max_tokens

    def embed(self, texts: Sequence[str]) -> "np.ndarray":
        """Vectors [n, dim], fp32."""
        return self.encoder.embed(texts)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self.embed(texts).tolist()
        return vectors

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


class ServerEmbedding(LocalEmbedding):
    """A model of an embedding server; its key comes from OPENAI_API_KEY."""

    url: str

    @property
    def max_tokens(self) -> int:
        """What such servers commonly read."""
        return _SERVER_TOKENS

    def embed(self, texts: Sequence[str]) -> "np.ndarray":
        """Vectors [n, dim], fp32, asked for in batches. Raises UserError when the server doesn't give them."""
        import numpy as np

        batches = [list(texts[start : start + _SERVER_BATCH]) for start in range(0, len(texts), _SERVER_BATCH)]
        return np.concatenate([self._vectors(self._ask(batch), len(batch)) for batch in batches])

    def _ask(self, texts: list[str]) -> Any:
        import httpx
        import openai

        key = os.environ.get("OPENAI_API_KEY") or "none"
        try:
            client = openai.OpenAI(base_url=self.url, api_key=key, timeout=_TIMEOUT_SECONDS, max_retries=_RETRIES)
            return client.embeddings.create(model=self.model_name, input=texts, encoding_format="float")
        except openai.AuthenticationError:
            raise self._error("refuses the key", "Set OPENAI_API_KEY to one that it takes") from None
        except openai.APIStatusError as error:
            said = shown(error.message.replace(key, "***"), 200)
            raise self._error(
                f"answers {error.status_code} ({said})", "Check embedding_url and that encoder names one of its models"
            ) from None
        except openai.APIConnectionError:
            raise self._error("can't be reached", "Start it, or check embedding_url (it usually ends in /v1)") from None
        except (openai.OpenAIError, httpx.InvalidURL, ValueError, TypeError) as error:
            raise self._error(f"gives no embeddings ({shown(error, 120)})", "Check embedding_url (it usually ends in /v1)") from None

    def _vectors(self, reply: Any, n: int) -> "np.ndarray":
        """The reply as vectors of length 1, in the order of the texts."""
        import numpy as np

        try:
            rows = sorted(reply.data, key=lambda each: each.index)
            vectors = np.array([each.embedding for each in rows], np.float64)
        except (AttributeError, TypeError, ValueError):
            vectors = np.zeros(0)
        lengths = np.linalg.norm(vectors, axis=1) if vectors.ndim == 2 else np.zeros(0)
        if len(lengths) != n or not np.isfinite(lengths).all() or not lengths.all():
            raise self._error(f"gives no embeddings for {n} texts", "Check embedding_url (it usually ends in /v1) and encoder")
        return (vectors / lengths[:, None]).astype(np.float32)

    def _error(self, what: str, remedy: str) -> UserError:
        return UserError(f"The embedding server {self.url} (model '{self.model_name}') {what}. {remedy}.")


def open_embedding(config: IndexConfig) -> LocalEmbedding:
    """The config's encoder; nothing is loaded yet."""
    if config.embedding_url is None:
        return LocalEmbedding(model_name=config.encoder)
    return ServerEmbedding(model_name=config.encoder, url=config.embedding_url)


def open_tokenizer(config: IndexConfig) -> "Tokenizer":
    """The encoder's tokenizer, which cuts nothing and pads nothing. A server's isn't known: the bundled one counts for it."""
    from transformers import AutoTokenizer

    from core.models.embed import encoder_folder

    place = encoder_folder("bundled" if config.embedding_url else config.encoder)
    found: Tokenizer = AutoTokenizer.from_pretrained(str(place)).backend_tokenizer
    found.no_truncation()
    found.no_padding()
    return found
