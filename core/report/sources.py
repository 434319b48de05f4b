"""What a bundle tells of: an evaluation, the verdicts on its answers, the runs that made its models, people's votes, and claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from core import console, judged_runs, judging, paths, queries, results, runs
from core.config import ReportConfig
from core.errors import UserError
from core.judge import arena
from core.queries import Evaluation
from core.runs import Run
from core.verdict_findings import Judged
from core.verdict_table import VerdictTable


@dataclass(frozen=True)
class JudgedRun:
    """A run of judges on the evaluation's answers."""

    run: Run
    rows: pd.DataFrame
    """verdicts.csv, every pair with its id."""
    card: pd.DataFrame
    """audit.csv."""
    judges: dict[str, Judged]

    @classmethod
    def read(cls, run: Run) -> "JudgedRun":
        """Its tables; the audit of a run that has none is worked out now."""
        rows = VerdictTable.opened(run.path / "verdicts.csv").everything()
        file = run.path / "audit.csv"
        card = results.read(file, results.AuditFigure) if file.exists() else judged_runs.audited(rows)
        return cls(run, rows, card, judged_runs.by_judge(rows, card))


@dataclass(frozen=True)
class Sources:
    """All that a bundle is made from."""

    evaluation: Evaluation
    judged: list[JudgedRun]
    """Newest first."""
    made: Mapping[str, Mapping[str, Any]]
    """Model -> the run.json in its folder; of those that have one that can be read."""
    trainings: list[Run]
    """Runs that trained the evaluated models, oldest first."""
    data: Run | None
    """The newest report on the dataset."""
    claims: Run | None
    votes: pd.DataFrame
    """What people said of pairs of these answers: core.judge.votes."""

    @cached_property
    def gains(self) -> pd.DataFrame:
        """queries.gains of the models that summaries compare."""
        return queries.gains(self.evaluation, self.evaluation.compared)

    @cached_property
    def examples(self) -> list[tuple[str, pd.Series]]:
        """queries.examples of the first of them; none where the base stands alone."""
        compared = self.evaluation.compared
        return queries.examples(self.evaluation, compared[0]) if compared else []

    @property
    def config(self) -> dict[str, Any]:
        """The evaluation's settings."""
        return self.evaluation.run.config

    @property
    def dataset(self) -> str:
        """The dataset's name, without the folders before it."""
        return Path(str(self.config.get("data", "answers"))).name

    @property
    def data_file(self) -> Path | None:
        """The dataset where it is a file of this machine; None for one of a hub, or one that is gone."""
        name = str(self.config.get("data", ""))
        places = (paths.home() / self.evaluation.run.cwd / name, paths.data_file(name))
        return next((place for place in places if place.is_file()), None) if name else None

    @property
    def runs(self) -> list[Run]:
        """Every run that a bundle tells of: data, training, evaluation, judges, claims."""
        found = [self.data, *self.trainings, self.evaluation.run, *(each.run for each in self.judged), self.claims]
        return [run for run in found if run]


def gather(config: ReportConfig) -> Sources:
    """Raises UserError where there is no such evaluation, or a judge run is of other answers."""
    found = queries.evaluation(_evaluation(config.evaluation))
    if found.answers.empty:
        raise UserError(f"Evaluation '{found.run.run_id}' has no answers, so there is nothing to report. Evaluate at least one question.")
    judged = [JudgedRun.read(run) for run in _judged(found.run, config.judged)]
    made = _made(found)
    trained = {str(info.get("run_id")) for info in made.values()}
    return Sources(
        evaluation=found,
        judged=[each for each in judged if len(each.rows)],
        made=made,
        trainings=sorted((run for run in runs.listing("train", "done") if run.run_id in trained), key=lambda run: run.run_id),
        data=next((run for run in queries.runs_with("data", "report.csv") if run.config.get("data") == found.run.config.get("data")), None),
        claims=next((run for run in queries.runs_with("claims", "claims.csv") if run.outputs.get("evaluation") == found.run.run_id), None),
        votes=_votes(found, judged),
    )


def _evaluation(wanted: str) -> Run:
    done = queries.runs_with("evaluate", "answers.csv")
    if not done:
        raise UserError(f"There is no finished evaluation in {paths.results()} to report on. Make one first: python -m core evaluate")
    found = next((run for run in done if wanted in ("last", run.run_id)), None)
    if found is None:
        raise UserError(f"There is no finished evaluation '{wanted}'. Finished ones: {', '.join(run.run_id for run in done[:5])}.")
    return found


def _judged(evaluation: Run, wanted: tuple[str, ...]) -> list[Run]:
    about = judging.runs_on(evaluation)
    if not wanted:
        return about
    if missing := [name for name in wanted if name not in [run.run_id for run in about]]:
        known = f"Those that did: {', '.join(run.run_id for run in about)}." if about else "None did yet: python -m core judge"
        raise UserError(f"No finished judge run '{missing[0]}' judged the answers of evaluation {evaluation.run_id}. {known}")
    return [run for run in about if run.run_id in wanted]


def _made(found: Evaluation) -> dict[str, Mapping[str, Any]]:
    """Of folders made again after the evaluation nothing is known of then: run ids begin with their time."""
    known: dict[str, Mapping[str, Any]] = {}
    for model, path in zip(found.models["model"], found.models["path"], strict=True):
        info = console.info(paths.home() / str(path)) if path else {}
        if info and str(info.get("run_id", "")) < found.run.run_id:
            known[str(model)] = info
    return known


def _votes(found: Evaluation, judged: list[JudgedRun]) -> pd.DataFrame:
    votes = arena.votes()
    rounds = [run for run in arena.rounds() if found.run.run_id in Path(str(run.outputs.get("answers", ""))).parts]
    asked = {pair for run in rounds for pair in arena.pairs(run.run_id)["pair"]}
    asked |= {pair for each in judged for pair in each.rows["pair"]}
    return votes[votes["pair"].isin(asked)].reset_index(drop=True)
