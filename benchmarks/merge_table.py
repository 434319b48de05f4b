"""The table of honest_merge.py: what each model loses on test rows, and what the table has to show."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

from benchmarks.markdown import head, row  # noqa: E402
from core.merge import ROUTERS  # noqa: E402
from core.results import ALL  # noqa: E402

NAMED, REST = "the question names its category", "it does not"
SURE = 0.9
"""A question names its category when naive Bayes, on the words and word pairs of the train questions, gives it at least this."""
OWN, POOLED, AVERAGE, EQUAL, TUNED, PEFT, TIES = "own", "pooled", "average", "equal", "tuned", "peft-linear", "ties"
LABELS = {
    "base": "base model",
    OWN: "own adapter (category known)",
    POOLED: "pooled adapter",
    AVERAGE: "average: 1/n each, exact",
    EQUAL: "equal weights, strength chosen on validation",
    TUNED: "tuned mix, found on validation",
    PEFT: "PEFT's linear at 1/n (A and B apart)",
    TIES: "TIES, density 0.5, strength 1",
    **{f"{router}-route": f"route: {router}" for router in ROUTERS},
}
MERGES = (AVERAGE, EQUAL, TUNED)
"""Exact merges."""


@dataclass(frozen=True)
class Measured:
    """One set of adapters."""

    home: str
    seeds: list[int]
    losses: dict[str, dict[str, float]]
    """Nats per answer token on test rows, by model and category; '(all)': the mean over the categories."""
    intervals: dict[str, tuple[float, float]]
    """95 % interval of the mean, by model: bootstrap over questions."""
    validation: dict[str, float]
    """Mean loss on the validation rows of the search."""
    weights: dict[str, list[float]]
    """Of the exact merges, in the order of the own adapters."""
    questions: int
    named: dict[str, dict[str, float]]
    """Nats per answer token on the questions that name their category and on the rest, by model; `questions`: how many those are."""


def table(measured: Sequence[Measured]) -> list[str]:
    """Markdown: a row per model, mean with its interval, and each category; means over the homes."""
    categories = [name for name in measured[0].losses["base"] if name != ALL]
    title = f"test loss, nats per answer token (n = {measured[0].questions})"
    lines = head(title, "mean", "95 % interval", *categories)
    for model, label in LABELS.items():
        if not all(model in each.losses for each in measured):
            continue
        means = {category: np.mean([each.losses[model][category] for each in measured]) for category in (ALL, *categories)}
        low, high = _interval(measured, model)
        lines.append(row(label, f"{means[ALL]:.3f}", f"{low:.3f} to {high:.3f}", *(f"{means[name]:.3f}" for name in categories)))
    return lines


def findings(measured: Sequence[Measured]) -> list[str]:
    """What the table has to show, by mean over the homes."""
    test = {model: float(np.mean([each.losses[model][ALL] for each in measured])) for model in _common(measured)}
    validation = {model: float(np.mean([each.validation[model] for each in measured])) for model in MERGES}
    best = min(test[model] for model in MERGES)
    routes = {model: test[model] for model in test if model.endswith("-route")}
    route = min(routes, key=lambda model: routes[model])
    return [
        "",
        f"- tuned mix against best equal-weight merge: {validation[TUNED]:.4f} against {validation[EQUAL]:.4f} on the validation rows that "
        f"both were chosen on; {test[TUNED]:.4f} against {test[EQUAL]:.4f} on test rows.",
        f"- exact average against PEFT's linear, both at 1/n: {test[AVERAGE]:.4f} against {test[PEFT]:.4f}.",
        f"- the best route ({LABELS[route]}) closes {_closed(best, routes[route], test[OWN])} of the gap from the best exact merge "
        f"({best:.4f}) to own adapters ({test[OWN]:.4f}); by category: {_closed_by_category(measured, route)}.",
        *(_closed_where(measured, route, where) for where in (NAMED, REST)),
    ]


def _common(measured: Sequence[Measured]) -> list[str]:
    """The models that every home has."""
    return [model for model in measured[0].losses if all(model in each.losses for each in measured)]


def _closed_where(measured: Sequence[Measured], route: str, where: str) -> str:
    """How much of the gap the route closes on some of the questions: a figure per home, their mean and Student's interval."""
    shares = []
    for each in measured:
        losses = {model: each.named[model][where] for model in (*MERGES, route, OWN)}
        best = min(losses[model] for model in MERGES)
        shares.append((best - losses[route]) / (best - losses[OWN]))
    shown = f"{np.mean(shares):.0%}"
    if len(shares) > 1:
        half = stats.t.ppf(0.975, len(shares) - 1) * stats.sem(shares)
        shown += f" (95 % interval over seeds {np.mean(shares) - half:.0%} to {np.mean(shares) + half:.0%})"
    return f"- where {where} (n = {measured[0].named['questions'][where]:.0f}), it closes {shown} of that gap."


def _closed_by_category(measured: Sequence[Measured], route: str) -> str:
    parts = []
    for category in (name for name in measured[0].losses["base"] if name != ALL):
        test = {model: np.mean([each.losses[model][category] for each in measured]) for model in _common(measured)}
        best = min(float(test[model]) for model in MERGES)
        parts.append(f"{category} {_closed(best, float(test[route]), float(test[OWN]))}")
    return ", ".join(parts)


def _closed(best: float, route: float, own: float) -> str:
    """How much of the way from the best merge to the own adapter a route goes."""
    return f"{(best - route) / (best - own):.0%}" if best > own else "none (there is no gap)"


def _interval(measured: Sequence[Measured], model: str) -> tuple[float, float]:
    if len(measured) == 1:
        return measured[0].intervals[model]
    means = [each.losses[model][ALL] for each in measured]
    half = stats.t.ppf(0.975, len(means) - 1) * stats.sem(means)
    return float(np.mean(means) - half), float(np.mean(means) + half)
