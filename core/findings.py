"""One sentence a page, made from the data, with its uncertainty. Nothing is claimed that an interval does not carry."""

from pathlib import Path
from typing import Any

import pandas as pd

from core.queries import OWN, Evaluation, perplexity, perplexity_drop
from core.results import ALL
from core.runs import Run
from core.stats import Estimate
from core.train import METHODS
from core.wording import count, duration, listed, percent, seconds_between, signed, three

_SHARE = "share of "
"""How the unit of a claim begins whose figures lie between 0 and 1."""


def evaluation(found: Evaluation, gains: pd.DataFrame) -> str:
    """What the own adapters (or else the first model) gained on base: `gains` is queries.gains."""
    model = OWN if OWN in set(gains["model"]) else next(iter(gains["model"]), None)
    if model is None:
        return f"Base alone was evaluated on {count(found.answers['question'].nunique(), 'question')}; train an adapter to compare it with."
    part = gains[gains["model"] == model]
    each, whole = part[part["category"] != ALL], part[part["category"] == ALL].iloc[0]
    other = "the base" if found.baseline == "base" else found.baseline
    if pd.isna(whole["drop"]):
        name = "own adapters" if model == OWN else model
        return f"Whether {name} beat {other} can't be told: perplexity was not measured on all of {count(len(found.answers), 'answer')}."
    figures = f"perplexity {three(whole['value'])} against {three(whole['base'])}"
    if pd.isna(whole["low"]):
        name, asked = "own adapters" if model == OWN else model, count(int(whole["n"]), "question")
        return f"{asked}: too few to tell whether {name} beat {other}. On these {figures}."
    better, worse = each[each["low"] > 0], each[each["high"] < 0]
    who = "Own adapters beat" if model == OWN else f"{model} beats"
    number, unclear = count(len(each), "category", "categories"), len(each) - len(better) - len(worse)
    together = whole["low"] > 0 and unclear == len(each) > 1
    parts = [f"{who} {other} over {number} together, on none by itself" if together else f"{who} {other} on {len(better)} of {number}"]
    if len(worse):
        parts.append(f"worse on {listed(list(worse['category']))}")
    if unclear and not together:
        parts.append(f"no difference seen on {unclear}")
    return f"{', '.join(parts)}: {figures} ({interval(whole['low'], whole['high'])} of the drop, {count(int(whole['n']), 'question')})."


def merged(gains: pd.DataFrame, model: str) -> str:
    """What merging cost: the merged adapter between base and the own adapters."""
    whole = gains[gains["category"] == ALL].set_index("model")
    row = whole.loc[model]
    text = f"{model} has perplexity {three(row['value'])} against {three(row['base'])} of the base"
    if OWN in whole.index:
        text += f" and {three(whole.loc[OWN, 'value'])} of the own adapters"
    return f"{text} ({interval(row['low'], row['high'])} of the drop from base, {count(int(row['n']), 'question')})."


def route(found: Evaluation, name: str, to_own: Estimate) -> str:
    """Where a route stands between the best merge and the own adapters, and how often it found those: `to_own` is queries.led_to_own."""
    text = f"{name} has perplexity {three(perplexity(found.answers_of(name)))}"
    merges = found.of_role("merged")
    if merges:
        best = min(merges, key=lambda merge: perplexity(found.answers_of(merge)))
        drop = perplexity_drop(found.answers_of(best), found.answers_of(name))
        text += f"; the best merge, {best}, has {three(perplexity(found.answers_of(best)))} ({interval(drop.low, drop.high)} of the drop)"
    if all(found.own(category) for category in found.categories):
        text += f"; its upper bound, the own adapters by the true category, have {three(perplexity(found.answers_of(OWN)))}"
    return (
        f"{text}. An adapter of the question's category has the largest weight for {percent(to_own.value)} of "
        f"{count(to_own.n, 'question')} (95 % interval {percent(to_own.low)} to {percent(to_own.high)}); the route sees the question alone."
    )


def training(best: pd.DataFrame, status: str) -> str:
    """How far validation loss fell: `best` is training.best_steps."""
    if status == "queued" or best.empty:
        return f"This run is {status}; no step has been taken, so there is nothing to see yet."
    if status == "running":
        loss = f"training loss {three(best['loss'].min())} to {three(best['loss'].max())} nats per token"
        return f"{count(len(best), 'adapter')} in training; {loss}."
    seen, stopped = best.dropna(subset=["best"]), ""
    if status != "done":
        stopped = f"This run {'was cancelled' if status == 'cancelled' else status} after step {int(best['step'].max()):,}. "
    if seen.empty:
        return f"{stopped}{count(len(best), 'adapter')} trained; no validation loss was measured, so nothing can be said about unseen rows."
    return stopped + (_fell(seen) if seen["measured"].max() > 1 else _measured_once(seen))


def _fell(seen: pd.DataFrame) -> str:
    if len(seen) == 1:
        row = seen.iloc[0]
        return (
            f"Validation loss of {row['adapter']} went from {three(row['first'])} to {three(row['best'])} nats per token "
            f"(one adapter, one seed: no interval)."
        )
    drops = seen["first"] - seen["best"]
    return (
        f"Validation loss fell after its first measurement for {(drops > 0).sum():,} of {count(len(seen), 'adapter')}: mean "
        f"{three(seen['first'].mean())} to {three(seen['best'].mean())} nats per token "
        f"(drops of {three(drops.min())} to {three(drops.max())}; one seed)."
    )


def _measured_once(seen: pd.DataFrame) -> str:
    span = f", from {three(seen['best'].min())} to {three(seen['best'].max())}" if len(seen) > 1 else ""
    return (
        f"Validation loss of {count(len(seen), 'adapter')}: {'mean ' if span else ''}{three(seen['best'].mean())} nats per token{span}. "
        "It was measured once, so how far it fell is not known."
    )


def extremes(best: pd.DataFrame) -> str:
    """Which adapters have the lowest and the highest validation loss; empty with fewer than two."""
    seen = best.dropna(subset=["best"]).set_index("adapter")["best"]
    if len(seen) < 2:
        return ""
    low, high = seen.idxmin(), seen.idxmax()
    return f"Lowest validation loss: {low} ({three(seen[low])}); highest: {high} ({three(seen[high])})."


def training_run(run: Run) -> str:
    """A training run's settings, time and speed in a line."""
    config, made = run.config, run.outputs.get("models", run.outputs.get("adapters", ()))
    method = METHODS[config["method"]] if config.get("method") in METHODS else None
    rank = f", rank {config['r']}" if method and "r" in method.fields and "r" in config else ""
    words = [f"{method.label if method else 'Training'}{rank} on {Path(config.get('base_model', 'bundled')).name}"]
    if made:
        words.append(count(len(made), "model" if "models" in run.outputs else "adapter"))
    if run.started_at and run.finished_at:
        words.append(f"took {duration(seconds_between(run.started_at, run.finished_at))}")
    return "; ".join([*words, *speed(run.outputs)]) + "."


def speed(outputs: dict[str, Any]) -> list[str]:
    """Tokens per second of a training run, and what share of the machine's own matrix-product peak that is."""
    words = []
    if outputs.get("tokens_per_second"):
        words.append(f"{three(outputs['tokens_per_second'])} tokens per second")
    if outputs.get("matrix_peak_share"):
        words.append(f"{percent(outputs['matrix_peak_share'])} of this machine's measured matrix-product peak")
    return words


def dataset(report: pd.DataFrame, outputs: dict[str, Any]) -> str:
    """What the data report found: rows, categories, leaks, cuts."""
    rows = figure(report, "rows")
    leaks, cut = figure(report, "leaks"), figure(report, "share_cut")
    categories = [name for name in dict.fromkeys(report["category"]) if name not in ("", ALL)]
    text = f"{three_or_all(rows)} rows in {count(len(categories), 'category', 'categories')}"
    text += "" if leaks is None else f"; {count(int(leaks), 'leak')} between splits"
    return text + ("." if cut is None else f"; {percent(cut) if cut else 'none'} cut at the longest sequence.")


def claims(table: pd.DataFrame) -> str:
    """How many of the published claims hold on one's own runs."""
    counts = table["holds"].value_counts()
    hold, fail, open_ = (int(counts.get(word, 0)) for word in ("holds", "does not hold", "cannot be said"))
    return f"Of {count(len(table), 'published claim')}, {hold} hold on these runs, {fail} do not hold, {open_} cannot be said."


def our_figure(claim: Any) -> tuple[str, str]:
    """Our figure of a row of claims.csv in its unit, and its interval with n, empty where there is none; a share as per cent, as theirs."""
    if pd.isna(claim.value):
        return three(None), ""
    if not str(claim.unit).startswith(_SHARE):
        spread = "" if pd.isna(claim.low) else f"{interval(claim.low, claim.high)}, n {int(claim.n):,}"
        return f"{three(claim.value)} {claim.unit}", spread
    value, low, high = (f"{100 * share:.1f}" for share in (claim.value, claim.low, claim.high))
    spread = "" if pd.isna(claim.low) else f"95 % interval {low} to {high} %, n {int(claim.n):,}"
    return f"{value} % of {str(claim.unit).removeprefix(_SHARE)}", spread


def figure(report: pd.DataFrame, name: str) -> float | None:
    """A figure of the whole dataset, or None when the report lacks it."""
    found = report[(report["figure"] == name) & report["category"].isin([ALL, ""]) & report["split"].isin([ALL, ""])]["value"].dropna()
    return float(found.iloc[0]) if len(found) else None


def three_or_all(number: float | None) -> str:
    """A count in full, thousands separated."""
    return three(None) if number is None else f"{number:,.0f}"


def interval(low: float, high: float) -> str:
    """'95 % interval 38 to 44'; with signs when it holds zero; 'no interval' where there were too few questions for one."""
    if pd.isna(low):
        return "no interval"
    if low <= 0 <= high:
        return f"95 % interval {signed(low)} to {signed(high)}"
    return f"95 % interval {three(low)} to {three(high)}"
