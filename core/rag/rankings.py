"""What a pipeline gives back: passages, best first, in the one order that trec_eval and everything here agree on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Found:
    """One place of a ranking."""

    passage: str
    """Id of the passage; of pipeline 'parent' the section's."""
    score: float
    """The pipeline's own, as a single-precision number; scores of two pipelines can't be compared."""
    document: str
    section: str
    """The section that it is, or that it stands in."""


@dataclass(frozen=True)
class Ranking:
    """What a pipeline found for one question, best first."""

    found: list[Found]
    seconds: float
    """From the question's text to the ranking."""

    @property
    def passages(self) -> list[str]:
        """Ids, best first."""
        return [each.passage for each in self.found]

    @property
    def sections(self) -> list[str]:
        """Each section at the place of its best passage, best first."""
        return list(dict.fromkeys(each.section for each in self.found))

    @property
    def documents(self) -> list[str]:
        """Documents, each with the score of its best passage, best first."""
        best: dict[str, float] = {}
        for each in self.found:
            best[each.document] = max(best.get(each.document, -np.inf), each.score)
        return [document for document, _ in best_first(best.items())]


Rankings = Mapping[str, Mapping[str, Ranking]]
"""Pipeline -> question id -> what was found."""


def best_first(scores: Iterable[tuple[str, float]] | Mapping[str, float], most: int | None = None) -> list[tuple[str, float]]:
    """(id, score) pairs ordered as trec_eval does: by score in single precision, the later id first where two are the same."""
    pairs = scores.items() if isinstance(scores, Mapping) else scores
    rounded = [(name, float(np.float32(score))) for name, score in pairs]
    return sorted(rounded, key=lambda pair: (pair[1], pair[0]), reverse=True)[:most]
