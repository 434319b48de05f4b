"""What fixed a question: rules held against cases worked out by hand."""

import numpy as np
import pytest

from core import results
from core.rag.fixes import SMALL, fixes
from core.rag.grid import cell

CELLS = [
    results.Cell(cell(generator, pipeline), generator, role, pipeline)
    for generator, role in (("base", "base"), ("own", "own"))
    for pipeline in ("none", "dense")
]


def table(neither, rag, tuning, both, question="Why?"):
    values = dict(zip(("base + none", "base + dense", "own + none", "own + dense"), (neither, rag, tuning, both), strict=True))
    return [results.AnswerScore("r", model, "c", question, "ref", "rougeL", value) for model, value in values.items()]


@pytest.mark.parametrize(
    ("neither", "rag", "tuning", "both", "outcome"),
    [
        (0.1, 0.9, 0.1, 0.5, "rag"),
        (0.1, 0.1, 0.9, 0.5, "tuning"),
        (0.1, 0.9, 0.9, 0.9, "either"),
        (0.1, 0.1, 0.1, 0.9, "both"),
        (0.5, 0.5, 0.5, 0.5, "none"),
        (0.9, 0.1, 0.1, 0.1, "harm"),
        (0.9, 0.1, 0.1, 0.9, "none"),
    ],
)
def test_an_outcome_says_what_alone_was_enough(neither, rag, tuning, both, outcome):
    [row] = fixes("r", CELLS, table(neither, rag, tuning, both), {"Why?": "q1"})
    assert (row.question_id, row.generator, row.pipeline, row.outcome) == ("q1", "own", "dense", outcome)
    assert (row.neither, row.rag, row.tuning, row.both) == (neither, rag, tuning, both)


def test_a_gain_below_a_fifth_of_the_deviation_over_all_answers_counts_for_nothing():
    wide = table(0.0, 1.0, 0.0, 1.0, "Other?")
    margin = SMALL * float(np.std([0.0, 1.0, 0.0, 1.0, 0.5, 0.5, 0.5, 0.5]))
    for gain, outcome in ((margin * 0.9, "none"), (margin * 1.2, "rag")):
        rows = fixes("r", CELLS, [*wide, *table(0.5, 0.5 + gain, 0.5, 0.5)], {"Why?": "q1", "Other?": "q2"})
        assert {row.question_id: row.outcome for row in rows}["q1"] == outcome


def test_a_question_that_lacks_an_answer_has_no_row():
    assert fixes("r", CELLS, table(0.1, 0.9, 0.1, 0.5)[:3], {"Why?": "q1"}) == []


def test_without_the_base_model_nothing_can_be_fixed():
    tuned = [each for each in CELLS if each.role != "base"]
    assert fixes("r", tuned, table(0.1, 0.9, 0.1, 0.5), {"Why?": "q1"}) == []
