"""What verdicts say of the candidates: win rates by category and by any slice; and what people said beside them.

Light: pandas and numpy. Intervals are at 95 % and clustered by question: several judges, repeats and candidates on one question are not
independent. With one verdict a question they are Wilson's. What verdicts say of the judge: core/judge/measures.py.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from core import queries, results
from core.judge.measures import JUDGED, questions
from core.judge.thresholds import LIGHTS
from core.results import ALL
from core.runs import Run
from core.stats import clustered

LENGTHS = {"under half": (0, 0.5), "shorter": (0.5, 0.8), "about as long": (0.8, 1.25), "longer": (1.25, 2), "over twice": (2, np.inf)}
"""Words of the candidate's answer over words of the base's: from, up to."""


def runs_on(evaluation: Run) -> list[Run]:
    """Finished judge runs on the answers of an evaluation, in the order of queries.runs_with."""
    judged = queries.runs_with("judge", "verdicts.csv")
    return [run for run in judged if evaluation.run_id in Path(str(run.outputs.get("answers", ""))).parts]


def light(run: Run, judge: str) -> str:
    """The worst light of a judge in a run's audit.csv: green, amber or red; empty where it was not audited."""
    file = run.path / "audit.csv"
    if not file.exists():
        return ""
    table = results.read(file, results.AuditFigure)
    return max(table.loc[(table["judge"] == judge) & (table["light"] != ""), "light"], key=LIGHTS.index, default="")


def win_rates(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Per category and for all: category, n (judged), wins, ties, losses, failed, not_asked, and the share of wins with its interval."""
    whole = slices(verdicts, pd.Series(ALL, index=verdicts.index))
    return pd.concat([whole, slices(verdicts, verdicts["category"])], ignore_index=True).rename(columns={"slice": "category"})


def slices(verdicts: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """The same for each of `names` (one a row, in order of appearance; rows without one are left out): slice, n, wins, ..., high."""
    known = [*JUDGED, "not asked"]
    clusters, words = questions(verdicts), pd.Categorical(verdicts["verdict"], known).codes
    places, found = pd.factorize(names)
    order = np.argsort(places, kind="stable")
    ends = np.searchsorted(places[order], np.arange(len(found) + 1))
    rows = []
    for name, start, end in zip(found, ends[:-1], ends[1:], strict=True):
        mine = order[start:end]
        failed, *counts = np.bincount(words[mine] + 1, minlength=len(known) + 1).tolist()
        judged = mine[(words[mine] >= 0) & (words[mine] < len(JUDGED))]
        rate = clustered(words[judged] == known.index("fine-tuned"), clusters[judged])
        rows.append((name, rate.n, *counts, failed, rate.value, rate.low, rate.high))
    table = pd.DataFrame(rows, columns=["slice", "n", "wins", "ties", "losses", "not_asked", "failed", "win_rate", "low", "high"])
    return table[["slice", "n", "wins", "ties", "losses", "failed", "not_asked", "win_rate", "low", "high"]]


def length_names(candidate: np.ndarray, base: np.ndarray) -> pd.Series:
    """How long each candidate's answer is beside the base's, as a name of LENGTHS: [rows] words of both."""
    ratio = np.divide(candidate, base, out=np.full(len(base), np.inf), where=base > 0)
    ratio[(base == 0) & (candidate == 0)] = 1.0
    upto = [high for _, high in LENGTHS.values()][:-1]
    return pd.Series(np.array(list(LENGTHS), dtype=object)[np.searchsorted(upto, ratio, side="right")])


def people(votes: pd.DataFrame) -> "pd.Series[str]":
    """What most reviewers said of each pair (pair -> base, fine-tuned or tie; as many for either side is a tie). Skips don't count."""
    said = votes[votes["verdict"].isin(JUDGED)]
    counts = pd.crosstab(said["pair"], said["verdict"]).reindex(columns=list(JUDGED), fill_value=0)
    first = counts.max(axis=1)
    split = counts.eq(first, axis=0).sum(axis=1) > 1
    return counts.idxmax(axis=1).where(~split, "tie")
