"""Claims about merge strategies."""

import math

import pandas as pd

from core import paths, results
from core.claims.evidence import Evidence, Ours, against, paired_mean
from core.results import ALL

CONFLICTING = 0.3
"""Share of entries in which weighted deltas differ in sign, from which on adapters are called conflicting here."""


def ties(evidence: Evidence) -> Ours:
    """Loss of the exact sum less loss of TIES on the same questions: above zero, TIES is better."""
    strategies = {model: evidence.recipe(model).get("strategy") for model in evidence.evaluation.of_role("merged")}
    by_strategy = {strategy: model for model, strategy in strategies.items()}
    if "ties" not in by_strategy or "linear" not in by_strategy:
        there = ", ".join(f"{model} ({strategy})" for model, strategy in strategies.items()) or "none"
        return Ours("cannot be said", f"It needs a merge by ties and one by linear in one evaluation. Merges there: {there}.")
    linear, sparse = by_strategy["linear"], by_strategy["ties"]
    per_answer = [_losses(evidence, model) for model in (linear, sparse)]
    pairs = pd.concat(per_answer, axis=1, keys=["linear", "ties"]).dropna()
    gain = paired_mean((pairs["linear"] - pairs["ties"]).to_numpy(float))
    conflict = _conflict(evidence, sparse)
    if math.isnan(conflict):
        return Ours("cannot be said", f"{sparse} has no fidelity.csv beside it, so how much its adapters conflict is not known.", gain)
    conflicting = conflict >= CONFLICTING
    word = "conflicting" if conflicting else "complementary"
    how = (
        f"The weighted deltas differ in sign in {conflict:.0%} of their entries, so the adapters count as {word} "
        f"(from {CONFLICTING:.0%} on). Loss per token of {linear} less that of {sparse}, each at the strength "
        "that it was merged with, mean over questions, paired bootstrap."
    )
    holds = against(gain, 0)
    if not conflicting and holds != "cannot be said":
        holds = "holds" if holds == "does not hold" else "does not hold"
    return Ours(holds, how, gain, "nats per token", (evidence.evaluation.run.run_id,))


def _losses(evidence: Evidence, model: str) -> pd.Series:
    table = evidence.evaluation.answers_of(model).drop_duplicates(["category", "question", "reference"])
    table = table.set_index(["category", "question", "reference"])
    return table["reference_loss"] / table["reference_tokens"]


def _conflict(evidence: Evidence, model: str) -> float:
    folder = paths.home() / str(evidence.evaluation.models.set_index("model").loc[model, "path"])
    if not (folder / "fidelity.csv").exists():
        return math.nan
    table = results.read(folder / "fidelity.csv", results.Fidelity)
    found = table[(table["layer"] == ALL) & (table["measure"] == "sign_conflict")]["value"]
    return float(found.iloc[0]) if len(found) else math.nan
