"""What one's own runs can say: the evaluation, the verdicts on its answers, its merges, and the training runs."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from core import judging, paths, queries, results, runs, stats, verdict_table
from core.config import ClaimsConfig
from core.errors import UserError
from core.queries import OWN, Evaluation
from core.runs import Run
from core.stats import Estimate

Holds = Literal["holds", "does not hold", "cannot be said"]
_KEYS = ["category", "question", "reference"]


@dataclass(frozen=True)
class Ours:
    """Our figure for a claim."""

    holds: Holds
    how: str
    """How it was measured, or what is missing."""
    estimate: Estimate = stats.NOTHING
    unit: str = ""
    runs: tuple[str, ...] = ()
    """Run ids that it comes from."""


@dataclass(frozen=True)
class Judged:
    """One judge's verdicts on the evaluation's answers."""

    run: Run
    judge: str
    verdicts: pd.DataFrame
    light: str
    """The darkest light of its audit: green, amber, red, or empty without an audit."""

    @property
    def by_language_model(self) -> bool:
        """Whether a language model judged: a judge without a prompt is an offline baseline."""
        return bool((self.verdicts["prompt"] != "").any())


@dataclass(frozen=True)
class Evidence:
    """The runs that claims are held against."""

    evaluation: Evaluation
    judged: list[Judged]

    @classmethod
    def gather(cls, config: ClaimsConfig) -> "Evidence":
        """The evaluation and the judge runs that the config names. Raises UserError where there is no such run."""
        done = queries.runs_with("evaluate", "answers.csv")
        chosen = [run for run in done if config.evaluation in ("last", run.run_id)]
        if not chosen:
            known = f"Finished ones: {', '.join(run.run_id for run in done[:5])}." if done else "Run: python -m core evaluate"
            raise UserError(f"There is no finished evaluation '{config.evaluation}' to hold claims against. {known}")
        evaluation = queries.evaluation(chosen[0])
        return cls(evaluation, _judged(evaluation, config.judges))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """answer_scores.csv of the evaluation; empty where an older one lacks it."""
        file = self.evaluation.run.path / "answer_scores.csv"
        return results.read(file, results.AnswerScore) if file.exists() else pd.DataFrame(columns=results.AnswerScore.columns())

    @property
    def trainings(self) -> list[Run]:
        """Finished training runs that had a process of their own, newest first."""
        return [run for run in runs.listing("train", "done") if not run.of_demo]

    def first(self, role: str) -> str | None:
        """The first model of a role: 'own' where every category has its own adapter."""
        if role == OWN:
            return OWN if all(self.evaluation.own(category) for category in self.evaluation.categories) else None
        return next(iter(self.evaluation.of_role(role)), None)

    def values(self, model: str, metric: str) -> pd.Series:
        """One figure of each of a model's answers, by category, question and reference."""
        asked = self.scores[(self.scores["metric"] == metric) & (self.scores["category"] != results.GENERAL)]
        table = self.evaluation.rows_of(asked, model)
        return table.drop_duplicates(_KEYS).set_index(_KEYS)["value"]

    def difference(self, model: str, other: str, metric: str) -> Estimate:
        """Mean of `model` less mean of `other` on the same questions, with a paired bootstrap interval over them."""
        pairs = pd.concat([self.values(model, metric), self.values(other, metric)], axis=1, keys=["ours", "theirs"]).dropna()
        return paired_mean((pairs["ours"] - pairs["theirs"]).to_numpy(float))

    def recipe(self, model: str) -> dict[str, Any]:
        """The recipe in a merged adapter's run.json; empty where its folder is gone."""
        folder = paths.home() / str(self.evaluation.models.set_index("model").loc[model, "path"])
        file = folder / "run.json"
        recipe: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")).get("recipe") or {} if file.exists() else {}
        return recipe


def paired_mean(differences: np.ndarray) -> Estimate:
    """The mean of [n] differences with its bootstrap interval."""
    n = len(differences)
    if n == 0:
        return stats.NOTHING
    statistics = np.stack([differences, np.ones(n)], axis=1)
    low, high = stats.bootstrap(statistics, lambda sums: sums[:, 0] / sums[:, 1], 0) or (np.nan, np.nan)
    return Estimate(float(differences.mean()), low, high, n)


def against(estimate: Estimate, bound: float) -> Holds:
    """Whether the whole interval lies at or above a bound, below it, or on both sides."""
    if estimate.low >= bound:
        return "holds"
    return "does not hold" if estimate.high < bound else "cannot be said"


def _judged(evaluation: Evaluation, wanted: tuple[str, ...]) -> list[Judged]:
    """Each judge of the runs named, or of those on the evaluation's answers: the newest of each judge, base and candidate."""
    found: dict[Any, Judged] = {}
    about = judging.runs_on(evaluation.run)
    for run in [run for run in queries.runs_with("judge", "verdicts.csv") if run.run_id in wanted] if wanted else about:
        for judge, verdicts in verdict_table.counted(run.path / "verdicts.csv").groupby("judge", sort=False):
            key = (judge, run.config.get("base"), run.config.get("candidate"))
            found.setdefault(key, Judged(run, str(judge), verdicts, judging.light(run, str(judge))))
    missing = set(wanted) - {each.run.run_id for each in found.values()}
    if missing:
        raise UserError(f"There is no finished judge run called {', '.join(sorted(missing))}. See: python -m core jobs")
    return list(found.values())
