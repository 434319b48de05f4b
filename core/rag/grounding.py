"""How far an answer rests on the passages that it read: sentence by sentence, and by which passage.

A passage supports a sentence as far as it has the sentence's words (K-precision: Adlakha et al. 2023, arXiv:2307.16877) or means the same
(cosine of their embeddings), whichever is more; from SUPPORTED on the sentence counts as supported. Of sentences of the shipped reference
answers 4 % are so supported by another paragraph of the gold document, and 0.4 % by a paragraph of another one (bundled encoder).
With an NLI model a sentence is supported where a passage entails it: having its words is not yet saying it.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from core import results
from core.metrics.batch import Measure, mean, mean_of_some
from core.rag.cosines import Embed, embedded
from core.rag.entailment import ENTAILMENT, Entailment
from core.rag.sentences import sentences, words
from core.results.rag import parts

SUPPORTED = 0.6
"""Least support of a sentence that is supported."""
ENTAILED = 0.5
"""Least probability of entailment, where an NLI model decides."""
_MISSING = "no answer here both read passages and says something"
_Pair = tuple[str, str]
"""A sentence and the id of a passage."""


def k_precision(text: str, passage: str) -> float:
    """Share of the text's words that the passage has, each as often as it stands there. 0 for a text without words."""
    return _share(Counter(words(text)), Counter(words(passage)))


def support(
    answers: Sequence[results.RagAnswer], passages: Mapping[str, str], embed: Embed, entailment: Entailment | None
) -> list[results.Support]:
    """Rows of support.csv: each sentence of each answer, with the passage that supports it best of those that the answer read.

    `passages`: id -> text. An answer that read none, or says nothing, has no rows.
    """
    said = [(answer, sentences(answer.prediction), read(answer)) for answer in answers]
    pairs = list(dict.fromkeys((sentence, passage) for _, mine, ids in said for sentence in mine for passage in ids))
    supports = _supports(pairs, passages, embed)
    entailed = _entailed(pairs, passages, entailment) if entailment else {}
    rows = []
    for answer, mine, ids in said:
        for place, sentence in enumerate(mine if ids else (), 1):
            best = max(ids, key=lambda passage: (entailed.get((sentence, passage), 0.0), supports[sentence, passage]))
            value, chance = supports[sentence, best], entailed.get((sentence, best))
            enough = value >= SUPPORTED if chance is None else chance >= ENTAILED
            names = (answer.run, answer.model, answer.question_id, answer.variant, place, sentence, best)
            rows.append(results.Support(*names, value, int(enough), chance))
    return rows


def measures(
    answers: Sequence[results.RagAnswer], support: Sequence[results.Support], passages: Mapping[str, str], embed: Embed, depends: str = ""
) -> list[Measure]:
    """Grounding, K-precision and relevance of the answers to the plain questions (variant ''), in their order.

    grounding: share of the answer's sentences that are supported. k_precision: share of its words that stand in the passages that it read,
    taken together. relevance: cosine of question and answer. The former two are missing where it read nothing or says nothing.
    `depends`: the encoder and the NLI model, for the signatures.
    """
    plain = [answer for answer in answers if not answer.variant]
    rule = f"entailment>={ENTAILED}" if any(row.entailment is not None for row in support) else f"max(k_precision,cosine)>={SUPPORTED}"
    also = f"|{depends}" if depends else ""
    return [
        mean_of_some("grounding", _grounding(plain, support), f"mean of answers|share of sentences|{rule}{also}", _MISSING),
        mean_of_some("k_precision", _k_precision(plain, passages), "mean of answers|all passages read|tok:words,no articles", _MISSING),
        mean("relevance", _relevance(plain, embed), f"mean of answers|cosine of question and answer{also}"),
    ]


def read(answer: results.RagAnswer) -> list[str]:
    """Ids of the passages that an answer read, best first."""
    return parts(answer.passages)


def _supports(pairs: Sequence[_Pair], passages: Mapping[str, str], embed: Embed) -> dict[_Pair, float]:
    """How far each passage supports each sentence, by words or by meaning."""
    texts = dict.fromkeys(text for sentence, passage in pairs for text in (sentence, passages[passage]))
    counted, vectors = {text: Counter(words(text)) for text in texts}, embedded(texts, embed)
    found = {}
    for sentence, passage in pairs:
        text = passages[passage]
        cosine = float(vectors[sentence] @ vectors[text])
        found[sentence, passage] = min(1.0, max(0.0, cosine, _share(counted[sentence], counted[text])))
    return found


def _entailed(pairs: Sequence[_Pair], passages: Mapping[str, str], entailment: Entailment) -> dict[_Pair, float]:
    """Probability that each passage entails each sentence."""
    chances = entailment.probabilities([passages[passage] for _, passage in pairs], [sentence for sentence, _ in pairs])
    return dict(zip(pairs, chances[:, ENTAILMENT].tolist(), strict=True))


def _share(ours: Counter[str], theirs: Counter[str]) -> float:
    return (ours & theirs).total() / ours.total() if ours else 0.0


def _grounding(answers: Sequence[results.RagAnswer], support: Sequence[results.Support]) -> np.ndarray:
    """[n] share of supported sentences; NaN for an answer without rows."""
    found = defaultdict(list)
    for row in support:
        if not row.variant:
            found[row.model, row.question_id].append(row.supported)
    return np.array([np.mean(found.get((answer.model, answer.question_id), np.nan)) for answer in answers])


def _k_precision(answers: Sequence[results.RagAnswer], passages: Mapping[str, str]) -> np.ndarray:
    """[n] share of the answer's words in its passages; NaN where there are neither."""
    return np.array(
        [
            k_precision(answer.prediction, "\n".join(passages[passage] for passage in read(answer)))
            if answer.passages and words(answer.prediction)
            else np.nan
            for answer in answers
        ]
    )


def _relevance(answers: Sequence[results.RagAnswer], embed: Embed) -> np.ndarray:
    """[n] cosine of question and answer; 0 for an empty answer."""
    vectors = embedded((text for answer in answers for text in (answer.asked, answer.prediction)), embed)
    return np.array([vectors[answer.asked] @ vectors[answer.prediction] for answer in answers])
