"""How alike the answers to one question are, when one thing changes and the rest is held.

Over pipelines the generator is held, over generators the pipeline, over paraphrases and draws the whole cell; these count the plain answer
to the plain question as one of them. Three figures of each question, and their means with intervals over questions:

- similarity: mean cosine of all pairs of answers
- clusters: how many different answers there are: groups by average linkage, in which answers are alike by a cosine of .75. With an
  NLI model as in semantic entropy (Kuhn, Gal and Farquhar 2023, arXiv:2302.09664): answers that entail each other both ways
- contradictions: share of pairs of which an NLI model says that one contradicts the other; both are read behind the question
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from core import results, stats
from core.metrics.batch import mean
from core.rag.cosines import Embed, embedded
from core.rag.entailment import CONTRADICTION, ENTAILMENT, Entailment

ALIKE = 0.75
"""Mean cosine from which groups of answers are one: what sentence-transformers' community detection takes by default."""
METRICS = ("similarity", "clusters", "contradictions")
HELD = {
    "pipelines": ("", "generator"),
    "generators": ("", "pipeline"),
    "paraphrases": ("paraphrase", "model"),
    "draws": ("draw", "model"),
}
"""What changes -> the variants beside the plain answer, by their first word, and the column that is held."""
_NO_NLI = "no nli_model is named"
_Pair = tuple[str, str]


@dataclass(frozen=True)
class _Group:
    """Answers to one question that differ in one thing, the plain answer first."""

    over: str
    held: str
    question_id: str
    answers: list[results.RagAnswer]

    @property
    def texts(self) -> list[str]:
        return [answer.prediction for answer in self.answers]

    @property
    def behind_question(self) -> list[str]:
        """The answers as an NLI model reads them; nothing where there is no answer."""
        question = self.answers[0].asked
        return [f"{question} {text}" if text.strip() else "" for text in self.texts]


@dataclass(frozen=True)
class _Inferred:
    """What an NLI model says of each ordered pair of texts: its likeliest label."""

    labels: dict[_Pair, int]

    def same(self, one: str, other: str) -> bool:
        return one == other or self._both(one, other) == {ENTAILMENT}

    def contradict(self, one: str, other: str) -> bool:
        return CONTRADICTION in self._both(one, other)

    def _both(self, one: str, other: str) -> set[int | None]:
        return {self.labels.get((one, other)), self.labels.get((other, one))}


def consistency(answers: Sequence[results.RagAnswer], embed: Embed, entailment: Entailment | None, seed: int) -> list[results.Consistency]:
    """Rows of consistency.csv: each question's figures, then their mean ('(all)'). Nothing where nothing changes.

    n is the number of pairs, of clusters the number of answers, of a mean the number of questions.
    """
    groups = list(_groups(answers))
    vectors = embedded((text for group in groups for text in group.texts), embed)
    inferred = _infer(groups, entailment) if entailment else None
    by_held = defaultdict(list)
    for group in groups:
        by_held[group.over, group.held].append(group)
    found = []
    for together in by_held.values():
        rows = [row for group in together for row in _rows(group, vectors, inferred, entailment)]
        found += rows + [_mean(together[0], [row for row in rows if row.metric == metric], metric, seed) for metric in METRICS]
    return found


def _groups(answers: Sequence[results.RagAnswer]) -> Iterable[_Group]:
    plain_first = sorted(answers, key=lambda answer: bool(answer.variant))
    for over, (variant, held) in HELD.items():
        groups = defaultdict(list)
        for answer in plain_first:
            if not answer.variant or answer.variant.partition(" ")[0] == variant:
                groups[getattr(answer, held), answer.question_id].append(answer)
        yield from (_Group(over, *key, mine) for key, mine in groups.items() if len(mine) > 1)


def _rows(
    group: _Group, vectors: dict[str, np.ndarray], inferred: _Inferred | None, entailment: Entailment | None
) -> list[results.Consistency]:
    """One question's figures."""
    matrix = np.stack([vectors[text] for text in group.texts])
    cosines = np.clip(matrix @ matrix.T, -1, 1)
    pairs = list(combinations(range(len(cosines)), 2))
    texts, run = group.behind_question, group.answers[0].run
    alike = _alike(cosines) if inferred is None else _entailing(texts, inferred)
    rule = f"average linkage|cosine>={ALIKE}" if entailment is None else f"bidirectional entailment|nli:{entailment.name}"
    figures = [
        ("similarity", float(np.mean([cosines[pair] for pair in pairs])), len(pairs), "mean pairwise cosine"),
        ("clusters", float(alike), len(texts), rule),
    ]
    if inferred is not None and entailment is not None:
        against = float(np.mean([inferred.contradict(texts[one], texts[other]) for one, other in pairs]))
        figures.append(("contradictions", against, len(pairs), f"either way|nli:{entailment.name}"))
    return [
        results.Consistency(run, group.question_id, group.over, group.held, metric, value, n, None, None, "", signature)
        for metric, value, n, signature in figures
    ]


def _mean(group: _Group, rows: Sequence[results.Consistency], metric: str, seed: int) -> results.Consistency:
    """One figure's mean over questions."""
    names = (group.answers[0].run, results.ALL, group.over, group.held, metric)
    if not rows:
        return results.Consistency(*names, None, 0, None, None, _NO_NLI)
    values = np.array([row.value for row in rows], dtype=float)
    figure = mean(metric, values, rows[0].signature)
    low, high = stats.bootstrap(figure.statistics, figure.value, seed) or (None, None)
    reason = "no interval: one question" if low is None else ""
    signature = f"{figure.signature}|mean over questions|bootstrap:{stats.RESAMPLES},seed:{seed},percentile"
    return results.Consistency(*names, float(values.mean()), len(values), low, high, reason, signature)


def _alike(cosines: np.ndarray) -> int:
    """Number of groups of answers, by agglomerative clustering with average linkage: [n, n] cosines, n > 1."""
    from scipy.cluster.hierarchy import fcluster, linkage

    apart = 1 - cosines[np.triu_indices(len(cosines), 1)]
    return int(fcluster(linkage(apart, method="average"), 1 - ALIKE, criterion="distance").max())


def _entailing(texts: Sequence[str], inferred: _Inferred) -> int:
    """Number of groups of answers: each joins the first group whose first answer entails it and is entailed by it (Kuhn's algorithm 1)."""
    firsts: list[str] = []
    for text in texts:
        if not any(inferred.same(first, text) for first in firsts):
            firsts.append(text)
    return len(firsts)


def _infer(groups: Sequence[_Group], entailment: Entailment) -> _Inferred:
    """Every ordered pair of different answers within a group, asked once. An empty answer says nothing, so it isn't asked about."""
    asked = dict.fromkeys(
        pair
        for group in groups
        for one, other in combinations(group.behind_question, 2)
        if one and other and one != other
        for pair in ((one, other), (other, one))
    )
    if not asked:
        return _Inferred({})
    premises, hypotheses = zip(*asked, strict=True)
    labels = entailment.probabilities(premises, hypotheses).argmax(axis=1).tolist()
    return _Inferred(dict(zip(asked, labels, strict=True)))
