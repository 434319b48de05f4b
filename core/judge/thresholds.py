"""From where a figure of the audit card speaks against the judge."""

from dataclasses import dataclass

from core.stats import Estimate
from core.wording import percent

LIGHTS = ("green", "amber", "red")
TOO_FEW = "Too few to rule out"
"""How the note of a green figure begins to say that its interval still reaches into amber."""


@dataclass(frozen=True)
class Threshold:
    """From where a figure speaks against the judge. `amber` below `red`: too much is bad; above it: too little is."""

    amber: float
    red: float
    either: bool = False
    """Whether as far below one half as above it is as bad."""

    def light(self, figure: Estimate) -> str:
        """The light of an interval."""
        return max((word for word in LIGHTS if word == "green" or self._passed(figure, word)), key=LIGHTS.index)

    def _passed(self, figure: Estimate, word: str) -> bool:
        bound: float = getattr(self, word)
        if self.amber > self.red:
            return figure.high < bound
        return figure.low > bound or (self.either and figure.high < 1 - bound)

    def said(self, figure: Estimate) -> str:
        """What the light rests on, in words."""
        word = self.light(figure)
        if word != "green":
            return f"{word.capitalize()}: the whole interval is {self._beyond(word)}."
        open_end = figure.low < self.amber if self.amber > self.red else figure.high > self.amber
        if open_end or (self.either and figure.low < 1 - self.amber):
            return f"{TOO_FEW} amber ({self._beyond('amber')})."
        return ""

    def _beyond(self, word: str) -> str:
        bound: float = getattr(self, word)
        if self.amber > self.red:
            return f"below {percent(bound)}"
        return f"above {percent(bound)}" + (f" or below {percent(1 - bound)}" if self.either else "")


THRESHOLDS = {
    "flip_rate": Threshold(0.4, 0.6),
    "first_position_rate": Threshold(0.55, 0.7, either=True),
    "longer_answer_rate": Threshold(0.6, 0.8, either=True),
    "unparsed": Threshold(0.1, 0.3),
    "failed": Threshold(0.1, 0.3),
    "repeat_agreement": Threshold(0.5, 0.35),
    "people_kappa": Threshold(0.4, 0.2),
}
"""Flips: between GPT-4 (35 %), GPT-3.5 (54 %) and Claude-v1 (76 %) in MT-bench's table 2 (Zheng et al. 2023, arXiv:2306.05685).
Kappa: fair agreement starts at 0.2, moderate at 0.4 (Landis and Koch 1977, Biometrics 33). The others are a convention of this program."""
