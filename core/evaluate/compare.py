"""Which models an evaluation compares: every one with the base, and with each category's own adapter: what merging costs."""

from collections.abc import Mapping, Sequence

import numpy as np

from core import results
from core.answering.models import OWN
from core.metrics.batch import Measure
from core.metrics.paired import Cell, tested


def compare(
    answers: Sequence[results.Answer], models: Sequence[results.Model], measures: Sequence[Measure], seed: int
) -> list[results.Comparison]:
    """Rows of comparisons.csv, metric by metric. Every model answered the same questions in the same order."""
    return tested(answers[0].run, cells(answers, models), measures, seed)


def cells(answers: Sequence[results.Answer], models: Sequence[results.Model]) -> list[Cell]:
    """What is compared: all models and 'own' with the base (or the first), and models of many categories with 'own' where it is whole."""
    named, kinds = np.array([each.model for each in answers]), np.array([each.category for each in answers])
    places = {model.model: np.flatnonzero(named == model.model) for model in models}
    baseline = next((model.model for model in models if model.role == "base"), models[0].model)
    asked = kinds[places[baseline]]
    own, owned = _own(models, places, asked)
    found = []
    for model in models:
        if model.model != baseline:
            found += _cells(model.model, places[model.model], baseline, places[baseline], asked, model.category)
    if owned.any() and OWN not in places:
        found += _cells(OWN, own[owned], baseline, places[baseline][owned], asked[owned], "")
        if owned[asked != results.GENERAL].all():
            for model in models:
                if model.role in ("pooled", "merged", "route"):
                    found += _cells(model.model, places[model.model][owned], OWN, own[owned], asked[owned], "")
    return found


def _own(models: Sequence[results.Model], places: Mapping[str, np.ndarray], asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each question the place of its own adapter's answer (the newest adapter of several), and whether there is one."""
    own, owned = np.zeros(len(asked), dtype=int), np.zeros(len(asked), dtype=bool)
    for model in models:
        if model.role == "own" and model.category:
            mine = asked == model.category
            own[mine], owned[mine] = places[model.model][mine], True
    return own, owned


def _cells(model: str, ours: np.ndarray, baseline: str, theirs: np.ndarray, asked: np.ndarray, category: str) -> list[Cell]:
    """One pair of models on each category, on all, and of an adapter of one category on all others."""
    rows = {name: asked == name for name in dict.fromkeys(asked.tolist())}
    rows[results.ALL] = asked != results.GENERAL
    if category:
        rows[results.OTHERS] = rows[results.ALL] & (asked != category)
    return [Cell(model, baseline, name, ours[mine], theirs[mine]) for name, mine in rows.items() if mine.any()]
