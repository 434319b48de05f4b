"""How far judges agree: with each other, with people, and with another run on the same pairs. Light: pandas and numpy."""

import math
from itertools import combinations

import numpy as np
import pandas as pd

from core import stats
from core.judge.measures import JUDGED, pair_ids, questions
from core.judge.thresholds import THRESHOLDS
from core.results import AuditFigure
from core.stats import Estimate


def between_judges(verdicts: pd.DataFrame, seed: int = 0) -> list[AuditFigure]:
    """Cohen's kappa of each two judges on the pairs that both judged, in the first repeat: figure judge_kappa, `note` names the other."""
    if verdicts["judge"].nunique() < 2:
        return []
    once = _judged(verdicts[verdicts["repeat"] == verdicts.groupby("judge")["repeat"].transform("min")])
    found = []
    for one, other in combinations(dict.fromkeys(once["judge"]), 2):
        both = _matched(once[once["judge"] == one], once[once["judge"] == other])
        found += _agreement(verdicts, one, "judge", f"With {other}: ", both, seed)
    return found


def with_people(verdicts: pd.DataFrame, votes: pd.DataFrame, seed: int = 0) -> list[AuditFigure]:
    """Agreement of each judge with people's votes on the same pairs: people_agreement and people_kappa. Each vote counts; skips don't."""
    cast = votes[votes["verdict"].isin(JUDGED)]
    once = _judged(verdicts[verdicts["repeat"] == verdicts.groupby("judge")["repeat"].transform("min")])
    found = []
    for judge in dict.fromkeys(verdicts["judge"]):
        both = once[once["judge"] == judge].merge(cast[["pair", "verdict", "reviewer"]], on="pair", suffixes=("", "_other"))
        if len(both):
            who = f"{both['reviewer'].nunique()} reviewers' votes on {both['pair'].nunique()} pairs: "
            found += _agreement(verdicts, judge, "people", who, both, seed)
    return found


def against(verdicts: pd.DataFrame, other: pd.DataFrame, seed: int = 0) -> list[AuditFigure]:
    """Two runs on the same questions: win_rate_difference (this less the other) and mcnemar_p, exact (McNemar 1947).

    Matched by pair where the runs share pairs, else by category, question and reference, in the order of the tables.
    Success is a verdict for the candidate.
    """
    ours, theirs = _judged(verdicts), _judged(other)
    both = _matched(ours, theirs) if set(ours["pair"]) & set(theirs["pair"]) else _by_question(ours, theirs)
    won = np.stack([both["verdict"] == "fine-tuned", both["verdict_other"] == "fine-tuned"], axis=1)
    here, there = int((won[:, 0] & ~won[:, 1]).sum()), int((~won[:, 0] & won[:, 1]).sum())
    run, judges = _run(verdicts), list(dict.fromkeys(verdicts["judge"]))
    judge = judges[0] if len(judges) == 1 else ""
    if both.empty:
        reason = "No pair and no question was judged in both runs."
        return [AuditFigure(run, judge, figure, None, None, None, 0, "", reason) for figure in ("win_rate_difference", "mcnemar_p")]
    counts = f"Candidate won here alone {here}, there alone {there}, in both {int(won.all(1).sum())} times. Other run: {_run(other)}."
    sums = stats.per_cluster(np.column_stack([won, np.ones(len(both))]).astype(float), questions(both))
    low, high = stats.bootstrap(sums, lambda each: (each[:, 0] - each[:, 1]) / each[:, 2], seed) or (None, None)
    value = float(won[:, 0].mean() - won[:, 1].mean())
    test = "Exact, two-sided." + (
        f" It takes rows for independent, which are about {len(sums)} questions." if len(sums) < len(both) else ""
    )
    how = f"Bootstrap over {len(sums)} questions, {stats.RESAMPLES} resamples."
    return [
        AuditFigure(run, judge, "win_rate_difference", value, low, high, len(both), "", f"{counts} {how}"),
        AuditFigure(run, judge, "mcnemar_p", stats.mcnemar(here, there), None, None, len(both), "", f"{counts} {test}"),
    ]


def _agreement(verdicts: pd.DataFrame, judge: str, whom: str, said: str, both: pd.DataFrame, seed: int) -> list[AuditFigure]:
    """Share of equal words, and kappa; `both` has verdict, verdict_other and the columns of a question."""
    one, other, clusters = both["verdict"].to_numpy(), both["verdict_other"].to_numpy(), questions(both)
    same, kappa = stats.clustered(one == other, clusters), _kappa(one, other, clusters, seed)
    shown = f"{said}same word (won, lost, tied) in {int((one == other).sum())} of {len(both)}."
    figures = []
    for name, estimate, how in ((f"{whom}_agreement", same, ""), (f"{whom}_kappa", kappa, " Cohen's kappa: agreement beyond chance.")):
        value, low, high = (None if math.isnan(each) else each for each in (estimate.value, estimate.low, estimate.high))
        threshold = THRESHOLDS.get(name) if value is not None else None
        light, why = (threshold.light(estimate), f" {threshold.said(estimate)}".rstrip()) if threshold else ("", "")
        figures.append(AuditFigure(_run(verdicts), judge, name, value, low, high, estimate.n, light, shown + how + why))
    return figures


def _kappa(one: np.ndarray, other: np.ndarray, clusters: np.ndarray, seed: int) -> Estimate:
    """Kappa with its large-sample interval where each question stands once, else with a bootstrap over questions where that is wider."""
    found = stats.kappa(list(one), list(other))
    if len(set(clusters.tolist())) == len(one):
        return found
    cells = np.stack([(one == a) & (other == b) for a in JUDGED for b in JUDGED], axis=1).astype(float)
    ends = stats.bootstrap(stats.per_cluster(cells, clusters), _kappa_of_tables, seed)
    if ends is None:
        return found
    return Estimate(found.value, min(found.low, ends[0]), max(found.high, ends[1]), found.n)


def _kappa_of_tables(sums: np.ndarray) -> np.ndarray:
    """[m, 9] counts of a table of two raters and three words -> [m] kappas."""
    tables = sums.reshape(-1, len(JUDGED), len(JUDGED)) / sums.sum(1)[:, None, None]
    agreed = np.trace(tables, axis1=1, axis2=2)
    chance = (tables.sum(1) * tables.sum(2)).sum(1)
    return np.asarray((agreed - chance) / (1 - chance))


def _judged(verdicts: pd.DataFrame) -> pd.DataFrame:
    return verdicts.assign(pair=pair_ids(verdicts))[verdicts["verdict"].isin(JUDGED)]


def _matched(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Rows of one pair beside each other, each repeat once; by judge where both have the same."""
    keys = ["pair", "base", "candidate", "repeat"]
    shared = set(ours["judge"]) & set(theirs["judge"])
    keys += ["judge"] if shared else []
    return ours.drop_duplicates(keys).merge(theirs.drop_duplicates(keys)[[*keys, "verdict"]], on=keys, suffixes=("", "_other"))


def _by_question(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    keys = ["category", "question", "reference"]
    ours, theirs = (table.assign(nth=table.groupby(keys).cumcount()) for table in (ours, theirs))
    return ours.merge(theirs[[*keys, "nth", "verdict"]], on=[*keys, "nth"], suffixes=("", "_other"))


def _run(verdicts: pd.DataFrame) -> str:
    return str(verdicts["run"].iloc[0]) if len(verdicts) else ""
