"""What filters, sorts, pages, slices and extremes of verdicts are, in plain pandas over a table in memory: the reference of tests."""

import numpy as np
import pandas as pd

from core import judging, word_overlap
from core.judge.measures import JUDGED, questions
from core.stats import clustered
from core.verdict_table import ANY, EXACT, TEXTS, Filters


class Plain:
    """Verdicts with their F1s, lengths, flags and themes, row by row."""

    def __init__(self, rows: pd.DataFrame, flags: pd.DataFrame, themes: pd.DataFrame) -> None:
        self.rows, self.flags, self.themes = rows.reset_index(drop=True), flags, themes
        (base_f1, candidate_f1), (base, candidate) = word_overlap.f1(*(self.rows[name] for name in TEXTS[1:]))
        self.difference, self.length = candidate_f1 - base_f1, judging.length_names(candidate, base)

    def where(self, filters: Filters, people: "pd.Series[str] | None" = None) -> list[int]:
        kept = [place for place in range(len(self.rows)) if self._keeps(place, filters, {} if people is None else people.to_dict())]
        if filters.sort == "file":
            return kept
        sign = -1 if filters.sort.startswith("largest") else 1
        return sorted(kept, key=lambda place: (sign * self.difference[place], place))

    def _keeps(self, place: int, filters: Filters, people: dict[str, str]) -> bool:
        row, said = self.rows.iloc[place], people.get(self.rows["pair"][place])
        asked = {
            **{name: (getattr(filters, name), row[name]) for name in EXACT},
            "length": (filters.length, self.length[place]),
            "orders": (filters.orders, "agree" if row["first_verdict"] == row["second_verdict"] else "disagree"),
        }
        flags, themes = self.flags_of(place), self.themes_of(place)
        return (
            all(wanted in (ANY, value) for wanted, value in asked.values())
            and (filters.flag == ANY or filters.flag in flags or (filters.flag == "any" and bool(flags)))
            and (filters.theme == ANY or filters.theme in themes or (filters.theme == "any" and bool(themes)))
            and filters.low <= self.difference[place] <= filters.high
            and any(filters.text.strip().lower() in row[name].lower() for name in TEXTS)
            and (filters.people == ANY or said is not None)
            and (filters.people in (ANY, "voted") or (row["verdict"] in JUDGED and (said == row["verdict"]) == (filters.people == "agree")))
        )

    def flags_of(self, place: int) -> set[str]:
        row, flags = self.rows.iloc[place], self.flags
        same = (flags["category"] == row["category"]) & (flags["question"] == row["question"])
        return set(flags.loc[same & flags["model"].isin([row["base"], row["candidate"]]), "flag"])

    def themes_of(self, place: int) -> set[str]:
        row, themes = self.rows.iloc[place], self.themes
        return set(themes.loc[(themes["judge"] == row["judge"]) & (themes["pair"] == row["pair"]), "words"])

    def extremes(self, most: int = 3) -> tuple[list[int], list[int]]:
        best = self.where(Filters(verdict="fine-tuned", orders="agree", sort="largest score difference"))
        return best[:most], self.where(Filters(verdict="base", orders="agree", sort="smallest score difference"))[:most]

    def sliced(self, by: str, judge: str) -> pd.DataFrame:
        """slice -> n, wins, ties, losses, win_rate, low, high."""
        mine = [place for place in range(len(self.rows)) if judge in (ANY, self.rows["judge"][place])]
        groups: dict[str, list[int]] = {}
        for place in mine:
            beside = {"flag": self.flags_of, "theme": self.themes_of}
            names = beside[by](place) if by in beside else {self.length[place] if by == "length" else str(self.rows[by][place])}
            for name in names:
                groups.setdefault(name, []).append(place)
        return pd.DataFrame({name: self._rate(places) for name, places in groups.items()}).T

    def whole(self, judge: str) -> float:
        return self._rate([place for place in range(len(self.rows)) if judge in (ANY, self.rows["judge"][place])])["win_rate"]

    def _rate(self, places: list[int]) -> dict[str, float]:
        words, asked = self.rows["verdict"].to_numpy()[places], questions(self.rows)[places]
        judged = np.isin(words, JUDGED)
        rate = clustered(words[judged] == "fine-tuned", asked[judged])
        counts = dict(zip(("wins", "ties", "losses"), ((words == word).sum() for word in JUDGED), strict=True))
        return {"n": rate.n, **counts, "win_rate": rate.value, "low": rate.low, "high": rate.high}
