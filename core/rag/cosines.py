"""Texts as vectors of length 1, each distinct text embedded once."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts -> vectors [n, dim]."""


def embedded(texts: Iterable[str], embed: Embed) -> dict[str, np.ndarray]:
    """Text -> its vector [dim + 1] of length 1: a product of two is their cosine.

    The last place is for empty texts, which no encoder is asked about: their cosine is 1 with each other, and 0 with any other text.
    """
    distinct = list(dict.fromkeys(texts))
    written = [text for text in distinct if text.strip()]
    vectors = np.asarray(embed(written), dtype=np.float64) if written else np.zeros((0, 0))
    vectors = np.pad(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), ((0, 0), (0, 1)))
    nothing = np.zeros(vectors.shape[1])
    nothing[-1] = 1.0
    return dict.fromkeys(distinct, nothing) | dict(zip(written, vectors, strict=True))


def remembering(embed: Embed) -> Embed:
    """The same, each text embedded once for as long as this lives: consistency, support and measures look at the same answers."""
    known: dict[str, np.ndarray] = {}

    def remembered(texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, embed(new), strict=True))
        return np.stack([known[text] for text in texts])

    return remembered
