"""Similarity to the reference as the judge: offline, and not a language model. Reimers and Gurevych 2019, arXiv:1908.10084

Each answer's score is the cosine of its embedding with the reference's. An answer does not change by being shown second,
so both orders agree by construction: its flips are 0 and prove nothing.
"""

import threading
from typing import Any

from core.config import JudgeConfig
from core.judge.backend import Backend, Choice, Comparison, OnRetry, Reading, Reply
from core.judge.reading import leading_word
from core.models.embed import BUNDLED, Encoder

TIE_MARGIN = 0.02
"""Two answers whose cosines with the reference differ by less are a tie."""

EMPTY = -1.0
"""The cosine of an empty answer: the lowest there is."""


class Similarity(Backend):
    """A baseline for real judges. `judge_model` may name another encoder: a folder or a hub id."""

    weights = True

    def __init__(self, config: JudgeConfig, model: str | None, on_retry: OnRetry) -> None:
        """Nothing is loaded yet."""
        self._wanted = model or "bundled"
        self._encoder: Encoder | None = None
        self._vectors: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.name = f"similarity (not a language model), {'all-MiniLM-L6-v2' if self._wanted == 'bundled' else self._wanted}"

    def identity(self, comparison: Comparison) -> list[Any]:
        """The encoder, the margin and the texts."""
        encoder = BUNDLED if self._wanted == "bundled" else self._wanted
        return ["similarity", encoder, TIE_MARGIN, comparison.reference, comparison.a, comparison.b]

    def open(self) -> None:
        """Load the encoder."""
        self._encoder = Encoder(self._wanted)

    def ask(self, comparison: Comparison) -> Reply:
        """The closer answer, or a tie below the margin; the reply's text shows both figures."""
        reference = self._vector(comparison.reference)
        a, b = (float(reference @ self._vector(text)) if text.strip() else EMPTY for text in (comparison.a, comparison.b))
        choice: Choice = "tie" if abs(a - b) < TIE_MARGIN else "A" if a > b else "B"
        return Reply(
            f"{choice} (cosine with the reference: A {a:.3f}, B {b:.3f}; a tie below {TIE_MARGIN}). "
            "Similarity, not a language model: both orders are the same by construction."
        )

    def read(self, reply: Reply) -> Reading:
        """The word that the reply begins with."""
        return leading_word(reply.text)

    def close(self) -> None:
        """Drop the encoder and the vectors."""
        self._encoder = None
        self._vectors.clear()

    def _vector(self, text: str) -> Any:
        """One text at a time, so that no other text's padding touches its figures."""
        assert self._encoder, "opened before it is asked"
        with self._lock:
            if text not in self._vectors:
                self._vectors[text] = self._encoder.embed([text])[0]
            return self._vectors[text]
