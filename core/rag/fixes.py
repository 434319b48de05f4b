"""Did RAG or tuning fix it? Each question's answer by the base model and a tuned one, with and without passages, held beside each other.

An answer is better when its score exceeds the base model's own, without passages, by more than a fifth of the standard deviation that the
metric has over all answers of the grid: a small effect (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from core import results
from core.rag import NONE
from core.rag.grid import cell

SMALL = 0.2
METRICS = ("bertscore_f1", "rougeL", "chrf")
"""Figures of single answers that are told; higher is better."""


def fixes(run: str, cells: Sequence[results.Cell], scores: Sequence[results.AnswerScore], ids: Mapping[str, str]) -> list[results.Fix]:
    """Rows of fixes.csv: every tuned generator with every pipeline, question by question. `ids`: question's text -> its id."""
    base = next((each.generator for each in cells if each.role == "base"), None)
    rows: list[results.Fix] = []
    for metric in METRICS if base else ():
        values = {(each.model, each.question): each.value for each in scores if each.metric == metric and each.value is not None}
        if not values:
            continue
        margin = SMALL * float(np.std(list(values.values())))
        for each in cells:
            if each.role == "base" or each.pipeline == NONE:
                continue
            four = [cell(str(base), NONE), cell(each.generator, NONE), cell(str(base), each.pipeline), each.model]
            for question, question_id in ids.items():
                found = [values.get((name, question)) for name in four]
                if None not in found:
                    neither, tuning, rag, both = (float(value) for value in found if value is not None)
                    outcome = _outcome(tuning - neither, rag - neither, both - neither, margin)
                    rows.append(results.Fix(run, question_id, each.generator, each.pipeline, metric, neither, tuning, rag, both, outcome))
    return rows


def _outcome(tuning: float, rag: float, both: float, margin: float) -> str:
    """From gains over the base model without passages."""
    if tuning > margin and rag > margin:
        return "either"
    if tuning > margin:
        return "tuning"
    if rag > margin:
        return "rag"
    if both > margin:
        return "both"
    return "harm" if both < -margin else "none"
