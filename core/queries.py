"""What several pages ask of the tables: which evaluation to show, gains over base with intervals, win rates, examples.

Light: pandas and numpy, no models. Intervals are at 95 %.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from core import runs
from core.evaluated import OWN, Evaluation, evaluation
from core.metrics import METRICS
from core.results import ALL, GENERAL
from core.runs import Run
from core.stats import Estimate, wilson
from core.wording import signed, three

__all__ = [
    "OWN",
    "Evaluation",
    "best_median_worst",
    "by_question",
    "evaluation",
    "examples",
    "gains",
    "is_neither",
    "led_to_own",
    "lower_is_better",
    "matrix",
    "paired",
    "perplexity",
    "perplexity_drop",
    "runs_with",
    "told",
    "with_flags",
]

_CELLS = 2_000_000
_LOSS = ("reference_loss", "reference_tokens")


def runs_with(verb: str, table: str, done: bool = True) -> list[Run]:
    """Runs of a verb that have this table, newest first; those of demos after all others. `done`: finished ones alone."""
    found = [run for run in runs.listing(verb) if (run.path / table).exists() and (not done or run.status == "done")]
    return sorted(found, key=lambda run: run.of_demo and run.status != "running")


def perplexity(answers: pd.DataFrame) -> float:
    """exp(total loss / total tokens) of the reference answers; missing where the loss of one is."""
    tokens = answers["reference_tokens"].sum(skipna=False)
    return float(np.exp(answers["reference_loss"].sum(skipna=False) / tokens)) if tokens else math.nan


def perplexity_drop(base: pd.DataFrame, model: pd.DataFrame, draws: int = 2000, seed: int = 0) -> Estimate:
    """How far the model's perplexity lies below the base's on the same questions: paired bootstrap over questions, percentile interval."""
    keys = ["category", "question", "reference"]
    pairs = base.merge(model, on=keys, suffixes=("_base", "_model")).drop_duplicates(keys)
    if pairs.empty:
        return Estimate(math.nan, math.nan, math.nan, 0)
    sums = pairs[["reference_loss_base", "reference_loss_model", "reference_tokens_base", "reference_tokens_model"]].to_numpy(float)
    random, drops = np.random.default_rng(seed), []
    step = max(1, _CELLS // len(sums))
    for start in range(0, draws, step):
        chosen = random.integers(len(sums), size=(min(step, draws - start), len(sums)))
        drops.append(_drop(np.stack([sums[:, column][chosen].sum(1) for column in range(4)], axis=1)))
    low, high = np.percentile(np.concatenate(drops), [2.5, 97.5])
    return Estimate(float(_drop(sums.sum(0)[None])[0]), float(low), float(high), len(sums))


def _drop(sums: np.ndarray) -> np.ndarray:
    """[draws, 4] sums of loss (base, model) and tokens (base, model) -> perplexity of base less perplexity of model."""
    return np.asarray(np.exp(sums[:, 0] / sums[:, 2]) - np.exp(sums[:, 1] / sums[:, 3]))


def gains(found: Evaluation, models: Iterable[str]) -> pd.DataFrame:
    """Perplexity of base and models, category by category: category, model, role, base, value, drop, low, high, n.

    Drops and their intervals are those of comparisons.csv; of an older run, which has none, they are worked out now.
    """
    base = found.answers_of(found.baseline)
    rows = []
    for model in models:
        answers = found.answers_of(model)
        for category in [*found.categories, ALL]:
            ours, theirs = (table if category == ALL else table[table["category"] == category] for table in (answers, base))
            if not ours.empty:
                drop = _compared_drop(found, model, category) or perplexity_drop(theirs, ours)
                figures = (perplexity(theirs), perplexity(ours), drop.value, drop.low, drop.high, drop.n)
                rows.append((category, model, found.role_of(model), *figures))
    return pd.DataFrame(rows, columns=["category", "model", "role", "base", "value", "drop", "low", "high", "n"])


def _compared_drop(found: Evaluation, model: str, category: str) -> Estimate | None:
    tests = found.comparisons[(found.comparisons["metric"] == "perplexity") & (found.comparisons["baseline"] == found.baseline)]
    mine = tests[(tests["model"] == model) & (tests["category"] == category)]
    if mine.empty:
        return None
    row = mine.iloc[0]
    return Estimate(-float(row["difference"]), -float(row["high"]), -float(row["low"]), int(row["n"]))


def lower_is_better(metric: str) -> bool:
    """Whether less of a figure is better, as the rows of METRICS say; losses too. Everything else grows with quality, or is neither."""
    return metric.startswith("loss") or any(metric in row.lower for row in METRICS.values())


def is_neither(metric: str) -> bool:
    """Whether more of a figure is neither better nor worse: lengths."""
    return any(metric in row.neither for row in METRICS.values())


def matrix(found: Evaluation, metric: str) -> pd.DataFrame:
    """One metric of every model on every category: scores with `gain` over base (positive is better), `clear`, `mark` and `against`.

    `clear`: the paired interval of the difference excludes zero. `mark`: ● where its p-value is below 0.05 among all cells of the metric
    (Holm), ○ where clear alone. `against`: the difference in words. An older run has no comparisons: see `_unpaired`.
    """
    table = found.scores[found.scores["metric"] == metric].copy()
    base = table[table["model"] == found.baseline].set_index("category")[["value", "low", "high"]].add_prefix("base_")
    table = table.join(base, on="category")
    sign = 0 if is_neither(metric) else -1 if lower_is_better(metric) else 1
    difference = table["value"] - table["base_value"]
    table["gain"] = sign * difference
    tests = found.comparisons[(found.comparisons["metric"] == metric) & (found.comparisons["baseline"] == found.baseline)]
    if tests.empty:
        return _unpaired(found, metric, table, difference)
    tested = tests.set_index(["model", "category"]).reindex(pd.MultiIndex.from_frame(table[["model", "category"]]))
    low, high, holm = (tested[name].to_numpy(float) for name in ("low", "high", "p_holm"))
    table["clear"] = (low > 0) | (high < 0)
    table["mark"] = np.where(holm < 0.05, "●", np.where(table["clear"], "○", ""))
    spans = zip(difference, low, high, holm, strict=True)
    table["against"] = [
        "" if math.isnan(p) else f"{signed(d)} against {found.baseline} ({signed(one)} to {signed(other)}), p {three(p)} after Holm"
        for d, one, other, p in spans
    ]
    return table


def _unpaired(found: Evaluation, metric: str, table: pd.DataFrame, difference: pd.Series) -> pd.DataFrame:
    """The same without comparisons: perplexity by the paired interval, made now; of other metrics the two intervals don't overlap,
    which is stricter."""
    table["clear"] = (table["low"] > table["base_high"]) | (table["high"] < table["base_low"])
    if metric == "perplexity":
        others = [model for model in found.models["model"] if model != found.baseline]
        drops = gains(found, others)
        if len(found.general):
            forgotten = gains(replace(found, answers=found.general), others)
            drops = pd.concat([drops, forgotten[forgotten["category"] == GENERAL]])
        sure = {(row.model, row.category): bool(row.low > 0 or row.high < 0) for row in drops.itertuples()}
        table["clear"] = [sure.get(key, False) for key in zip(table["model"], table["category"], strict=True)]
    table["mark"] = np.where(table["clear"], "○", "")
    table["against"] = [f"{signed(each)} against {found.baseline}" for each in difference]
    return table


def led_to_own(weights: pd.DataFrame) -> Estimate:
    """Of a route's rows of route_weights.csv: the share of questions whose largest weight went to an adapter of their category."""
    asked = weights[weights["category"] != GENERAL]
    largest = asked.loc[asked.groupby(["category", "question"], sort=False)["weight"].idxmax()]
    return wilson(int(largest["own"].sum()), len(largest))


def by_question(weights: pd.DataFrame) -> pd.DataFrame:
    """Of a route's rows of route_weights.csv: one row per question, its category, and the weight of each adapter."""
    wide = weights.pivot_table(index=["category", "question"], columns="adapter", values="weight", sort=False)
    return wide.reset_index().rename_axis(columns=None)


def paired(found: Evaluation, candidate: str) -> pd.DataFrame:
    """A row for each question that both the baseline and the candidate answered: category, model, and `gain`: nats per token that the
    reference costs less. base_place and place: the rows of their answers."""
    keys = ["category", "question", "reference"]
    base, ours = (
        found.answers_of(model).drop_duplicates(keys).reset_index(names="place")[[*keys, "model", *_LOSS, "place"]]
        for model in (found.baseline, candidate)
    )
    pairs = base.merge(ours, on=keys, suffixes=("_base", ""))
    per_token = [pairs[f"reference_loss{who}"] / pairs[f"reference_tokens{who}"] for who in ("_base", "")]
    table = pairs[["category", "model", "place_base", "place"]].rename(columns={"place_base": "base_place"})
    return table.assign(gain=per_token[0] - per_token[1])


def told(found: Evaluation, pairs: pd.DataFrame) -> pd.DataFrame:
    """Rows of `paired` with their texts: category, question, reference, base and candidate predictions, model, gain."""
    base, ours = (found.whole(pairs[name].tolist()) for name in ("base_place", "place"))
    texts = {name: base[name].to_numpy() for name in ("question", "reference")}
    table = pairs[["category"]].assign(**texts, base=base["prediction"].to_numpy(), candidate=ours["prediction"].to_numpy())
    return table.assign(model=pairs["model"], gain=pairs["gain"])


def with_flags(found: Evaluation, pairs: pd.DataFrame) -> pd.DataFrame:
    """A few pairs of `told` with `base_flags` and `flags`: of each answer the flags of flags.csv and their details."""
    keys, known = ["model", "category", "question"], dict[tuple[str, ...], dict[str, str]]()
    asked = f"SELECT {', '.join(keys)}, flag, detail FROM rows WHERE list_contains($questions, question) ORDER BY place"
    for *key, flag, detail in found.flags.ask(asked, {"questions": pairs["question"].tolist()}).itertuples(index=False):
        known.setdefault(tuple(key), {})[flag] = detail
    base = [known.get((found.baseline, *key), {}) for key in zip(pairs["category"], pairs["question"], strict=True)]
    ours = [known.get(key, {}) for key in zip(*(pairs[name] for name in keys), strict=True)]
    return pairs.assign(base_flags=base, flags=ours)


def examples(found: Evaluation, candidate: str) -> list[tuple[str, pd.Series]]:
    """best_median_worst of a candidate, with their texts."""
    chosen = best_median_worst(paired(found, candidate))
    return [(label, told(found, row.to_frame().T).iloc[0]) for label, row in chosen]


def best_median_worst(pairs: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """Three examples by rule, not by taste: largest, median and smallest gain."""
    ranked = pairs.dropna(subset=["gain"]).sort_values("gain", ascending=False, kind="stable")
    if ranked.empty:
        return []
    places = {"Best": 0, "Median": len(ranked) // 2, "Worst": len(ranked) - 1}
    return [(label, ranked.iloc[place]) for label, place in places.items()]
