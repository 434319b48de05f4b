"""The grid's figures: scores of every cell, paired comparisons between cells, and what fixed which question."""

from collections.abc import Mapping, Sequence

import numpy as np

from core import results
from core.config import RagConfig
from core.metrics.batch import Measure, of_answers
from core.metrics.paired import Cell, tested
from core.metrics.scores import measure, of_each, score
from core.models.load import BaseModel
from core.rag import NONE
from core.rag.fixes import fixes
from core.rag.grid import Given, cell
from core.rag.questions import Asked
from core.results.table import Tables
from core.workspace import Workspace

API = "bundled"
"""Encoder of BERTScore where a server embeds the passages."""


def scored(
    config: RagConfig,
    base: BaseModel,
    cells: Sequence[results.Cell],
    asked: Sequence[Asked],
    given: Sequence[Given],
    grounded: Sequence[Measure],
    workspace: Workspace,
) -> Tables:
    """answers, scores, answer_scores, comparisons and fixes. `grounded`: figures of the answers of variant '', in the order of `given`.

    Questions without a reference have figures of grounding alone.
    """
    by_id = {each.id: each for each in asked}
    answers = [_answer(each, by_id[each.answer.question_id]) for each in given if not each.answer.variant]
    referenced = [place for place, each in enumerate(answers) if each.reference]
    compared = [answers[place] for place in referenced]
    categories = dict.fromkeys((each.category for each in asked), "")
    scores = score(answers, grounded, categories, config.seed)
    each_score = list(of_each(answers, grounded))
    tables: Tables = {"answers": (answers, results.Answer)}
    if compared:
        encoder = API if config.embedding_url else config.encoder
        workspace.say(f"Scoring {len(compared):,} answers: {', '.join(config.metrics)}.")
        measures = measure(of_answers(compared, base, encoder, config.max_seq_length), config.metrics, workspace.say)
        scores = score(compared, measures, categories, config.seed) + scores
        each_score = [*of_each(compared, measures), *each_score]
        pairs = _pairs(cells, compared)
        tables["comparisons"] = (tested(workspace.run.run_id, pairs, measures, config.seed), results.Comparison)
    ids = {each.question: each.id for each in asked}
    return tables | {
        "scores": (scores, results.Score),
        "answer_scores": (each_score, results.AnswerScore),
        "fixes": (fixes(workspace.run.run_id, cells, each_score, ids), results.Fix),
    }


def _answer(given: Given, asked: Asked) -> results.Answer:
    made = given.answer
    return results.Answer(
        made.run,
        made.model,
        asked.category,
        asked.question,
        asked.answer,
        made.prediction,
        given.reference_loss,
        given.reference_tokens,
        made.finish,
    )


def _pairs(cells: Sequence[results.Cell], answers: Sequence[results.Answer]) -> list[Cell]:
    """Each cell with the first generator without passages; with its own generator without passages; and with the first generator's cell
    of the same pipeline. Every cell answered the same questions in the same order.
    """
    named = np.array([each.model for each in answers])
    places: Mapping[str, np.ndarray] = {each.model: np.flatnonzero(named == each.model) for each in cells}
    first = cells[0].generator
    found = []
    for each in cells:
        baselines = (cell(first, NONE), cell(each.generator, NONE), cell(first, each.pipeline))
        for baseline in dict.fromkeys(baselines):
            if baseline in places and baseline != each.model:
                found.append(Cell(each.model, baseline, results.ALL, places[each.model], places[baseline]))
    return found
