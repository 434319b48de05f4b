"""One sentence for each evaluated model, from comparisons.csv: its own category, the harm elsewhere, and the price of one model for all."""

import pandas as pd

from core.queries import OWN, Evaluation, is_neither, lower_is_better
from core.results import ALL, GENERAL, OTHERS
from core.wording import count, listed, signed, three

PRICE = {"pooled": "one adapter for all", "merged": "merging", "route": "routing"}
"""What a model of many categories is compared with the own adapters for."""


def sentences(found: Evaluation, metric: str) -> dict[str, str]:
    """By model, in the order of models.csv, 'own' first where there are own adapters. Empty for an older run, which has no comparisons."""
    tests = found.comparisons[found.comparisons["metric"] == metric]
    if tests.empty or is_neither(metric):
        return {}
    said = {}
    for model in dict.fromkeys([OWN, *found.models["model"]]):
        mine = tests[tests["model"] == model]
        against_base = mine[mine["baseline"] == found.baseline].set_index("category")
        if ALL in against_base.index:
            against_own = mine[(mine["baseline"] == OWN) & (model != OWN)].set_index("category")
            said[model] = _sentence(found, metric, model, against_base, against_own)
    return said


def legend(found: Evaluation, metric: str, judged: bool) -> str:
    """How to read the matrix."""
    colours = f"Green-blue: better than {found.baseline}, orange: worse."
    if judged:
        return f"Share of wins against {found.baseline}. {colours} ● more wins than losses, or fewer: the 95 % interval excludes one half."
    if is_neither(metric):
        better = "Neither more nor less is better."
    else:
        better = f"{'Lower' if lower_is_better(metric) else 'Higher'} is better. {colours}"
    others = f" {GENERAL}: questions about other matters; what is worse there was forgotten." if len(found.general) else ""
    if found.comparisons.empty:
        how = "the paired interval of the difference excludes zero" if metric == "perplexity" else "the 95 % intervals don't overlap"
        return f"{better} ○ {how}.{others}"
    return (
        f"{better} ○ the 95 % interval of the paired difference excludes zero; ● also when held against all cells of the metric at once "
        f"(Holm, p below 0.05).{others}"
    )


def _sentence(found: Evaluation, metric: str, model: str, base: pd.DataFrame, own: pd.DataFrame) -> str:
    mine = found.models[found.models["model"] == model]
    category = str(mine["category"].iloc[0]) if len(mine) else ""
    if category in base.index:
        parts = [
            f"On {category}, its own category, {_figure(found, metric, model, category)}, {_against(base.loc[category], found.baseline)}"
        ]
        if OTHERS in base.index:
            parts.append(f"off it {_difference(base.loc[OTHERS])}: {_where(metric, base.drop(index=category))}")
    else:
        parts = [f"On all questions {_figure(found, metric, model, ALL)}, {_against(base.loc[ALL], found.baseline)}", _where(metric, base)]
    if GENERAL in base.index:
        parts.append(f"on other matters {_difference(base.loc[GENERAL])}")
    if ALL in own.index:
        price = PRICE.get(found.role_of(model), "one model for all")
        parts.append(f"the price of {price}: {_against(own.loc[ALL], 'the own adapters')}, {_where(metric, own)}")
    return f"{'; '.join(parts)}."


def _figure(found: Evaluation, metric: str, model: str, category: str) -> str:
    """'perplexity is 37.3'. 'own' is no model and has no score of its own."""
    scores = found.scores
    row = scores[(scores["model"] == model) & (scores["category"] == category) & (scores["metric"] == metric)]
    return f"{metric} is {three(row['value'].iloc[0])}" if len(row) else metric


def _against(row: pd.Series, other: str) -> str:
    span = "" if pd.isna(row["low"]) else f"95 % interval {signed(row['low'])} to {signed(row['high'])}, "
    return f"{signed(row['difference'])} against {other} ({span}n {int(row['n']):,})"


def _difference(row: pd.Series) -> str:
    span = "" if pd.isna(row["low"]) else f"{signed(row['low'])} to {signed(row['high'])}, "
    return f"{signed(row['difference'])} ({span}n {int(row['n']):,})"


def _where(metric: str, tests: pd.DataFrame) -> str:
    """On which categories the model is better and worse, held against all cells of the metric; the worse ones with their figures."""
    each = tests.drop(index=[name for name in (ALL, OTHERS, GENERAL) if name in tests.index])
    sure = each[each["p_holm"] < 0.05]
    gain = sure["difference"] * (-1 if lower_is_better(metric) else 1)
    better, worse = sure[gain > 0], sure[gain < 0]
    parts = [f"better on {len(better)} of {count(len(each), 'category', 'categories')}"] if len(better) or worse.empty else []
    if len(worse):
        parts.append(f"worse on {listed([f'{name} ({signed(row.difference)})' for name, row in worse.iterrows()])}")
    if unclear := len(each) - len(sure):
        parts.append(f"no difference seen on {unclear}")
    return ", ".join(parts)
