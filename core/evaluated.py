"""One evaluation's tables, and what of them is held: the texts of a million answers stay where they are, and are looked up by a few rows.

Light: pandas, DuckDB inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from core import results
from core.results import GENERAL, Answer, Flag, parquet
from core.results.asked import Asked
from core.runs import Run

OWN = "own"
"""The model name that stands for each category's own adapter."""
NUMBER = "hash({})"
"""SQL: a number for a text, of 64 bits, equal where the texts are."""
COUNTED = (
    f"model, category, {NUMBER.format('question')} AS question, {NUMBER.format('reference')} AS reference, "
    "reference_loss, reference_tokens, finish"
)
"""SQL: what is held of a large answers.csv, with numbers for texts."""


@dataclass(frozen=True)
class Evaluation:
    """The tables of one evaluation run."""

    run: Run
    models: pd.DataFrame
    answers: pd.DataFrame
    """answers.csv; of a large one COUNTED. The index is the row's number in the file."""
    scores: pd.DataFrame
    general: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Answers about other matters, which count in no total."""
    comparisons: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=results.Comparison.columns()))
    """Empty where an older run has none."""
    flags: Asked = field(default_factory=lambda: Asked(pd.DataFrame(columns=Flag.columns()), Flag))
    """flags.csv, which is asked and not read."""

    @cached_property
    def categories(self) -> list[str]:
        """Categories in the order of the answers."""
        return [str(name) for name in self.answers["category"].unique()]

    @property
    def has_texts(self) -> bool:
        """Whether `answers` has questions, references and predictions; of a large table it has numbers for the first two."""
        return "prediction" in self.answers

    @cached_property
    def baseline(self) -> str:
        """What the others are compared with: the base, or the first model where the base was left out."""
        return (self.of_role("base") or list(self.models["model"]))[0]

    @property
    def compared(self) -> list[str]:
        """'own' where there are adapters of categories, then pooled, merged and routed: what stands against the base in summaries."""
        owned = [OWN] if any(self.own(category) for category in self.categories) else []
        rest = [model for role in ("pooled", "merged", "route") for model in self.of_role(role)]
        return [model for model in (owned + rest or list(self.models["model"])) if model != self.baseline]

    def of_role(self, role: str) -> list[str]:
        """Names of the models with this role (base, own, pooled, merged, route)."""
        return list(self.models.loc[self.models["role"] == role, "model"])

    def own(self, category: str) -> str | None:
        """The adapter of this category; the newest when there are several."""
        found = self.models[(self.models["role"] == "own") & (self.models["category"] == category)]
        return str(found["model"].iloc[-1]) if len(found) else None

    def role_of(self, model: str) -> str:
        """The role of a model, 'own' for the stand-in of the own adapters."""
        found = self.models.loc[self.models["model"] == model, "role"]
        return str(found.iloc[0]) if len(found) else OWN

    def answers_of(self, model: str) -> pd.DataFrame:
        """One model's answers; for 'own', each category's answers by its own adapter."""
        return self.rows_of(self.answers, model)

    def rows_of(self, table: pd.DataFrame, model: str) -> pd.DataFrame:
        """The same of any table with a model and a category in each row."""
        if model != OWN or OWN in set(self.models["model"]):
            return table[table["model"] == model]
        return table[table["model"] == table["category"].map(self.owners)]

    @cached_property
    def owners(self) -> dict[str, str]:
        """Category -> its own adapter, where it has one."""
        own = {category: self.own(category) for category in self.categories}
        return {category: model for category, model in own.items() if model}

    def whole(self, places: Sequence[int]) -> pd.DataFrame:
        """These rows of answers.csv with their texts, in the order given; those of a large table are looked up."""
        return self.answers.loc[places] if self.has_texts else answered(self.run).take(places, Answer.columns())


def answered(run: Run) -> Asked:
    """A run's answers.csv, which is asked and not read."""
    return Asked.opened(run.path / "answers.csv", Answer)


def counted(file: Path) -> pd.DataFrame:
    """An answers.csv; of a large one what counting its answers needs, COUNTED."""
    if not parquet.is_large(file, Answer):
        return results.read(file, Answer)
    return Asked.opened(file, Answer).ask(f"SELECT {COUNTED} FROM rows ORDER BY place")


def evaluation(run: Run) -> Evaluation:
    """The tables of an evaluation run; the texts of a large one stay where they are (Evaluation.whole)."""
    answers = counted(run.path / "answers.csv")
    other = answers["category"] == GENERAL
    return Evaluation(
        run,
        results.read(run.path / "models.csv", results.Model),
        answers[~other],
        _table(run, "scores.csv", results.Score),
        answers[other],
        _table(run, "comparisons.csv", results.Comparison),
        Asked.opened(run.path / "flags.csv", Flag),
    )


def _table(run: Run, name: str, row_type: type[results.Row]) -> pd.DataFrame:
    file = run.path / name
    return results.read(file, row_type) if file.exists() else pd.DataFrame(columns=row_type.columns())
