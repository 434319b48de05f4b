"""The figures of a bundle: the charts of the pages, each with its finding in a sentence, how it is read, and its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from core import charts, findings, loss_curves, model_findings, queries, results, training, verdict_charts, verdict_findings, win_matrix
from core.queries import OWN
from core.report.markup import Markup, folded, joined, listing, table
from core.report.sources import JudgedRun, Sources
from core.results import ALL, GENERAL
from core.verdict_findings import Judged
from core.wording import count, percent, signed, three

MOST_CATEGORIES = 60
"""Categories of a figure; the tables in the zip have all."""
MOST_COLUMNS = 24
"""Models beside each other; beyond that the own adapters, one per category, are left to the dumbbells."""
MOST_CELLS = 12_000
"""Cells of all matrices together, about 3 MB; figures beyond are in scores.csv."""
CELL_PIXELS = 58
OWN_NAME = "Own adapters"


@dataclass(frozen=True)
class Picture:
    """A chart with all that stands beside it."""

    key: str
    """Unique on the page."""
    label: str
    """What it is called where one of several is chosen."""
    figure: go.Figure
    finding: str
    """What it shows in a sentence: its text alternative."""
    reading: str
    """How to read it."""
    numbers: Markup
    """Its table."""
    narrowest: int = 0
    """Pixels below which it scrolls inside itself; 0: it fits any screen."""
    beside: Markup = Markup()
    """What more there is to say."""


def shown_categories(sources: Sources) -> list[str]:
    """The categories of a figure."""
    return sources.evaluation.categories[:MOST_CATEGORIES]


def dumbbells(sources: Sources) -> Picture | None:
    """From base to each compared model, category by category; None where the base stands alone."""
    gains = sources.gains
    if gains.empty:
        return None
    drawn = gains[gains["category"].isin(shown_categories(sources))]
    others = [findings.merged(gains, model) for model in sources.evaluation.of_role("merged") if model in set(gains["model"])]
    return Picture(
        "dumbbells",
        "Perplexity by category",
        charts.dumbbells(drawn),
        findings.evaluation(sources.evaluation, gains),
        "Each line goes from the base to the other models. Whiskers: 95 % interval of the drop from the base, by paired bootstrap.",
        table(_gain_rows(gains), ("category", "model", "base", "perplexity", "drop", "95 % interval of the drop", "n"), "Perplexity"),
        beside=listing(others),
    )


def matrices(sources: Sources) -> tuple[list[Picture], list[str]]:
    """A heat map of categories and models for each metric, and the names of those that would be too many."""
    found = sources.evaluation
    models = [model for model in found.models["model"] if len(found.models) <= MOST_COLUMNS or found.role_of(model) != "own"]
    down = [*shown_categories(sources), ALL, *([GENERAL] if len(found.general) else [])]
    metrics = list(dict.fromkeys(found.scores["metric"]))
    fitting = metrics[: max(1, MOST_CELLS // (len(models) * len(down)))]
    pictures = [_matrix(sources, place, metric, models, down) for place, metric in enumerate(fitting)]
    return pictures, metrics[len(fitting) :]


def _matrix(sources: Sources, place: int, metric: str, models: list[str], down: list[str]) -> Picture:
    found = sources.evaluation
    scores = queries.matrix(found, metric)
    drawn = scores[scores["model"].isin(models) & scores["category"].isin(down)]
    said = {OWN_NAME if name == OWN else name: text for name, text in model_findings.sentences(found, metric).items()}
    finding = findings.evaluation(found, sources.gains) if metric == "perplexity" else _first(said, metric)
    left_out = _left_out(found.models["model"].nunique() - len(models), len(found.categories) - len(shown_categories(sources)))
    return Picture(
        f"matrix-{place}",
        metric,
        charts.matrix(drawn, metric, models, down),
        finding,
        f"{model_findings.legend(found, metric, judged=False)} {left_out}".strip(),
        _score_table(drawn, metric),
        90 + CELL_PIXELS * len(models),
        _sentences(said, [OWN_NAME, *found.compared]),
    )


def _sentences(said: Mapping[str, str], first: Sequence[str]) -> Markup:
    """What a metric says of each model, those that summaries compare at once."""
    shown, folded_away = ([f"{name}: {text}" for name, text in said.items() if (name in first) == wanted] for wanted in (True, False))
    return joined([listing(shown), folded(f"{count(len(folded_away), 'more model')}", listing(folded_away)) if folded_away else ""])


def win_matrices(sources: Sources) -> list[Picture]:
    """Categories and models with the share of wins against the base, one for each judge; a judge with a red card has none."""
    named = {each.run.run_id for each in sources.judged}
    pictures = []
    for place, (name, scores) in enumerate(win_matrix.win_rates(sources.evaluation).items()):
        runs = scores["signature"].str.split("|").str[0].str.removeprefix("run:")
        told = scores[runs.isin(named) & scores["value"].notna()]
        if len(told):
            pictures.append(_wins(sources, place, name, told))
    return pictures


def _wins(sources: Sources, place: int, name: str, told: pd.DataFrame) -> Picture:
    found = sources.evaluation
    down = [category for category in (*shown_categories(sources), ALL) if category in set(told["category"])]
    models = [model for model in found.models["model"] if model in set(told["model"])][:MOST_COLUMNS]
    whole = told[told["category"] == ALL]
    wins = [f"{row.model} {percent(row.value)} ({percent(row.low)} to {percent(row.high)})" for row in whole.itertuples()]
    return Picture(
        f"wins-{place}",
        name.removeprefix(f"{win_matrix.METRIC}, "),
        charts.matrix(told, name, models, down),
        f"Share of wins against {found.baseline}: {'; '.join(wins)}." if wins else f"{name}, category by category.",
        model_findings.legend(found, name, judged=True),
        _score_table(told, name),
        90 + CELL_PIXELS * len(models),
    )


def outcomes(sources: Sources) -> list[Picture]:
    """Wins, ties and losses of each judged run by each judge whose card is not red."""
    told = [(each, judged) for each in sources.judged for judged in each.judges.values() if not judged.withheld]
    return [_outcomes(place, each, judged, shown_categories(sources)) for place, (each, judged) in enumerate(told)]


def _outcomes(place: int, each: JudgedRun, judged: Judged, categories: list[str]) -> Picture:
    drawn = judged.rates[judged.rates["category"].isin([ALL, *categories])]
    return Picture(
        f"outcomes-{place}",
        f"{versus(each, judged.judge)}, by {judged.judge}",
        verdict_charts.outcomes(drawn),
        judged.sentence,
        "Whiskers: 95 % interval of the share of wins, clustered by question. What was not judged is left out and counted beside.",
        table(_rate_rows(judged.rates), RATE_COLUMNS, f"Outcomes by {judged.judge}"),
    )


def versus(each: JudgedRun, judge: str) -> str:
    """'own adapters against base'."""
    mine = each.rows[each.rows["judge"] == judge]
    return f"{verdict_findings.candidate_name(mine)} against {', '.join(dict.fromkeys(mine['base']))}"


def curves(sources: Sources) -> list[Picture]:
    """The loss curves of each training run that has steps."""
    pictures = []
    for place, run in enumerate(run for run in sources.trainings if (run.path / "steps.csv").exists()):
        steps = results.read(run.path / "steps.csv", results.Step).assign(run=run.run_id[-4:])
        if len(steps):
            pictures.append(_curves(place, steps, training.best_steps(steps), str(run.config.get("name") or run.run_id[-4:])))
    return pictures


def _curves(place: int, steps: pd.DataFrame, best: pd.DataFrame, name: str) -> Picture:
    many = len(best) > loss_curves.MOST
    figure = loss_curves.highlighted(steps, *training.extremes(best), []) if many else loss_curves.small_multiples(steps)
    rows = [(row.adapter, f"{row.step:,}", three(row.loss), three(row.first), three(row.best)) for row in best.itertuples()]
    columns = ("adapter", "steps", "last training loss", "first validation loss", "best validation loss")
    return Picture(
        f"curves-{place}",
        f"{count(len(best), 'adapter')}: {best['adapter'].iloc[0] if len(best) == 1 else name}",
        figure,
        findings.training(best, "done"),
        f"{findings.extremes(best)} Thin: training loss, smoothed. Thick: validation loss. Star: its best. Nats per token.".strip(),
        table(rows, columns, "Losses of each adapter"),
        0 if many or len(best) == 1 else 640,
    )


RATE_COLUMNS = ("category", "n", "wins", "ties", "losses", "failed", "not asked", "win rate", "95 % interval")


def _rate_rows(rates: pd.DataFrame) -> list[Sequence[str]]:
    names = ("n", "wins", "ties", "losses", "failed", "not_asked")
    counts = [[f"{int(row[name]):,}" for name in names] for row in rates.to_dict("records")]
    spans = [(percent(row.win_rate), _span(row.low, row.high, percent)) for row in rates.itertuples()]
    return [(category, *numbers, *span) for category, numbers, span in zip(rates["category"], counts, spans, strict=True)]


def _gain_rows(gains: pd.DataFrame) -> list[Sequence[str]]:
    return [
        (row.category, row.model, three(row.base), three(row.value), signed(row.drop), _span(row.low, row.high, signed), f"{int(row.n):,}")
        for row in gains.itertuples()
    ]


def _score_table(scores: pd.DataFrame, metric: str) -> Markup:
    """The rows that the Evaluate page lists below its matrix."""
    rows = [
        (row.category, row.model, three(row.value), _span(row.low, row.high, three), f"{int(row.n):,}", row.against or row.reason)
        for row in scores.itertuples()
    ]
    return table(rows, ("category", "model", metric, "95 % interval", "n", "against the baseline"), f"{metric} of every model")


def _span(low: float, high: float, said: Any) -> str:
    return said(None) if pd.isna(low) else f"{said(low)} to {said(high)}"


def _first(said: dict[str, str], metric: str) -> str:
    name = next(iter(said), "")
    return f"{name}: {said[name]}" if name else f"{metric} of every model on every category."


def _left_out(models: int, categories: int) -> str:
    parts = [f"{count(models, 'own adapter')}"] if models else []
    parts += [count(categories, "category", "categories")] if categories else []
    return f"Left out here for room, and in scores.csv: {' and '.join(parts)}." if parts else ""
