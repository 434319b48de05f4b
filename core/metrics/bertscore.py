"""BERTScore by the bert-score package, each figure the mean over the answers: raw (no idf) and F1 rescaled (arXiv:1904.09675).

Each distinct text is encoded once for all models; a pair that was scored before, in any run, is not scored again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from math import ceil

import numpy as np
import torch

from core.metrics.batch import Batch, Measure, mean
from core.metrics.score_cache import ScoreCache, Scored
from core.metrics.token_vectors import Text, TokenEncoder

Pair = tuple[str, str]
"""A prediction and a reference."""

_NAMES = ("bertscore_precision", "bertscore_recall", "bertscore_f1")
_EMPTY = Scored((0.0, 0.0, 0.0), 0)
_TOKENS = 350_000
"""Tokens held as vectors at once: 500 MB of an encoder of width 384."""
_BASELINE_PAIRS = 1000


def bertscore(batch: Batch) -> list[Measure]:
    """Precision, recall and F1 of tokens matched by their contextual vectors. An empty answer scores 0, as bert-score itself defines.

    Rescaled: (F1 - b) / (1 - b), where b is the mean F1 of references to different questions, in place of the authors' b from random
    sentences of Common Crawl, which exists for some encoders alone: 0 is as alike as two answers to different questions.
    """
    encoder = TokenEncoder(batch.encoder, batch.device)
    signature = _signature(encoder)
    pairs = list(zip(batch.predictions, batch.references, strict=True))
    unlike = _unlike(batch.references)
    known = _scored(encoder, [*pairs, *unlike], signature)
    scores = np.array([known[pair].scores for pair in pairs])
    measures = [mean(name, scores[:, column], f"{signature}|rescaled:no") for column, name in enumerate(_NAMES)]
    baseline = float(np.mean([known[pair].scores[2] for pair in unlike])) if unlike else np.nan
    label = f"{signature}|rescaled:by {baseline:.9g}, the mean F1 of {len(unlike)} pairs of references to different questions of this data"
    note = _cut_note(encoder, pairs, known)
    return [*measures, mean("bertscore_f1_rescaled", (scores[:, 2] - baseline) / (1 - baseline), label, note)]


def _signature(encoder: TokenEncoder) -> str:
    """What a score depends on."""
    versions = "|".join(f"{name}:{version(name)}" for name in ("bert_score", "transformers", "torch"))
    place = "" if encoder.device.type == "cpu" else f"|device:{encoder.device.type}"
    return f"encoder:{encoder.called}|layer:{encoder.layer}|idf:no|max_tokens:{encoder.max_tokens}{place}|{versions}"


def _scored(encoder: TokenEncoder, pairs: Iterable[Pair], signature: str) -> dict[Pair, Scored]:
    """Every distinct pair's scores, from the cache or made now and kept there."""
    distinct = list(dict.fromkeys(pairs))
    cache = ScoreCache(signature)
    known = {pair: _EMPTY for pair in distinct if not all(text.strip() for text in pair)}
    known |= cache.pairs(pair for pair in distinct if pair not in known)
    new = [pair for pair in distinct if pair not in known]
    ids = {text: encoder.ids(text) for text in dict.fromkeys(text for pair in new for text in pair)}
    for chunk in _chunks(new, ids):
        made = _score(encoder, cache, chunk, ids)
        cache.keep_pairs(made)
        known |= made
    return known


def _chunks(pairs: Sequence[Pair], ids: Mapping[str, Sequence[int]]) -> Iterator[list[Pair]]:
    """Pairs in parts whose vectors fit in memory. Pairs of one reference stand together, so that parts share few texts."""
    chunk, held, size = list[Pair](), set[str](), 0
    for pair in sorted(pairs, key=lambda pair: pair[1]):
        more = sum(len(ids[text]) for text in {*pair} - held)
        if chunk and size + more > _TOKENS:
            yield chunk
            chunk, held, size = [], set(), 0
            more = sum(len(ids[text]) for text in {*pair})
        chunk.append(pair)
        held |= {*pair}
        size += more
    if chunk:
        yield chunk


def _score(encoder: TokenEncoder, cache: ScoreCache, pairs: Sequence[Pair], ids: Mapping[str, tuple[int, ...]]) -> dict[Pair, Scored]:
    """Scores of pairs that are new."""
    references = {reference for _, reference in pairs}
    texts = dict.fromkeys(text for pair in pairs for text in pair)
    vectors = {
        text: Text(ids[text], torch.tensor(found).view(len(ids[text]), -1).to(encoder.device))
        for text, found in cache.encodings(references).items()
    }
    new = [text for text in texts if text not in vectors]
    vectors |= dict(zip(new, encoder.encode([ids[text] for text in new]), strict=True))
    cache.keep_encodings({text: vectors[text].vectors.cpu().numpy() for text in new if text in references})
    cut = {text: encoder.is_cut(text, ids[text]) for text in texts}
    scores = encoder.match([(vectors[prediction], vectors[reference]) for prediction, reference in pairs]).tolist()
    return {pair: Scored(tuple(row), cut[pair[0]] + 2 * cut[pair[1]]) for pair, row in zip(pairs, scores, strict=True)}


def _unlike(references: Iterable[str]) -> list[Pair]:
    """Some thousand pairs of different references: each with those that follow it in the order of their digests, which is no order at all.

    So the pairs don't depend on a seed, and hardly change when a reference is added.
    """
    distinct = sorted({text for text in references if text.strip()}, key=lambda text: sha256(text.encode()).digest())
    n = len(distinct)
    turns = min(n - 1, ceil(_BASELINE_PAIRS / n)) if n else 0
    return [(distinct[place], distinct[(place + turn) % n]) for turn in range(1, turns + 1) for place in range(n)]


def _cut_note(encoder: TokenEncoder, pairs: Sequence[Pair], known: dict[Pair, Scored]) -> str:
    """A sentence when texts are longer than the encoder reads."""
    cut = sum(known[pair].cut.bit_count() for pair in pairs)
    return f"BERTScore reads {encoder.max_tokens} tokens: {cut} of {2 * len(pairs)} texts are longer and were cut." if cut else ""
