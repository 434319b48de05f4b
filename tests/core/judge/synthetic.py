"""Judges whose faults are known exactly: what they say of pairs of made-up answers, and the rates that their verdicts should show."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

WORDS = np.array(["base", "fine-tuned"])


@dataclass(frozen=True)
class SyntheticJudge:
    """Of its replies a share fails, a share can't be read; of the others some take the first answer, some the longer, some toss a coin.

    The rest takes the better answer, which is the candidate's in the share `skill` of pairs, independent of length.
    """

    first: float = 0.0
    longer: float = 0.0
    coin: float = 0.0
    failed: float = 0.0
    unparsed: float = 0.0
    skill: float = 0.6

    def verdicts(self, seed: int, questions: int = 100, candidates: int = 1, repeats: int = 1) -> pd.DataFrame:
        """A table as verdicts.csv; its candidates' answers to one question stand against the same answer of the base."""
        rng = np.random.default_rng(seed)
        n = questions * candidates
        base = np.repeat(rng.integers(10, 400, questions), candidates)
        ours = rng.integers(10, 400, n)
        better = rng.random(n) < self.skill
        pair = np.repeat(np.arange(n), repeats)
        question = pair // candidates
        texts = {"base_prediction": base[pair], "candidate_prediction": ours[pair]}
        first, second = (self._said(rng, better[pair], ours[pair] - base[pair], order) for order in (0, 1))
        broken = np.select([(first == word) | (second == word) for word in ("failed", "unparsed")], ["failed", "unparsed"], "")
        table = pd.DataFrame({"verdict": np.where(broken != "", broken, np.where(first == second, first, "tie"))})
        table = table.assign(first_verdict=first, second_verdict=second, question=[f"q{each}" for each in question])
        table = table.assign(**{name: ["x" * int(size) for size in sizes] for name, sizes in texts.items()})
        table = table.assign(candidate=[f"c{each % candidates}" for each in pair], pair=[f"p{each}" for each in pair])
        table["repeat"] = np.tile(np.arange(repeats), n)
        return table.assign(run="r", judge="j", prompt="p", base="base", category="k", reference="", rationale="")

    def _said(self, rng: np.random.Generator, better: np.ndarray, longer_by: np.ndarray, order: int) -> np.ndarray:
        draw, coin = rng.random(len(better)), rng.random(len(better)) < 0.5
        edges = np.cumsum([self.first, self.longer, self.coin])
        choices = [np.full(len(better), order == 1), np.where(longer_by == 0, coin, longer_by > 0), coin]
        chosen = WORDS[np.select([draw < edge for edge in edges], choices, better).astype(int)]
        lost = rng.random(len(better))
        return np.select([lost < self.failed, lost < self.failed + self.unparsed], ["failed", "unparsed"], chosen)

    def rates(self) -> dict[str, float]:
        """What the verdicts of endlessly many pairs would show, worked out by hand."""
        truths = []
        for better, share in ((1, self.skill), (0, 1 - self.skill)):
            for longer in (0, 1):
                rest = self.coin / 2 + self.longer * longer + (1 - self.first - self.longer - self.coin) * better
                truths.append((share / 2, rest, rest + self.first))
        weights, one, two = np.array(truths).T  # chance that the candidate is chosen with the base first, and with itself first
        return {
            "flip_rate": float(weights @ (one * (1 - two) + (1 - one) * two)),
            "reversal_rate": float(weights @ (one * (1 - two) + (1 - one) * two)),
            "first_position_rate": 0.5 + self.first / 2,
            "longer_answer_rate": 0.5 + self.longer / 2,
            "longer_either_way": 0.5 + self.longer / 2,
            "failed": self.failed,
            "unparsed": self.unparsed,
            "win_rate": float(weights @ (one * two)),
            "repeat_agreement": float(
                weights @ ((one * two) ** 2 + ((1 - one) * (1 - two)) ** 2 + (one * (1 - two) + (1 - one) * two) ** 2)
            ),
        }
