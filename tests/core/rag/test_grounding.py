"""What an answer rests on, against words counted by hand and cosines computed apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from core import results
from core.metrics import paired, scores
from core.rag.entailment import Entailment
from core.rag.grounding import SUPPORTED, k_precision, measures, support

PASSAGES = {
    "p1": "Virtue is knowledge, and knowledge can be taught.",
    "p2": "The cat sat on the mat. It looked at the dog.",
    "p3": "Nobody knows what it means.",
}
READ = "p1 | p2"
AXES = {text: axis for axis, text in enumerate(PASSAGES.values())}


def embed(texts: Sequence[str]) -> np.ndarray:
    """Each passage is an axis; a text lies between the second one and an axis of its own, at a cosine of .8 if it speaks of a tomcat."""
    found = np.zeros((len(texts), 8))
    for row, text in enumerate(texts):
        if text in AXES:
            found[row, AXES[text]] = 1
        elif "tomcat" in text:
            found[row, [1, 5]] = 0.8, 0.6
        else:
            found[row, 6] = 1
    return found


class Labels:
    """An NLI model that finds whatever speaks of teaching in the first passage, and nothing else anywhere."""

    name = "by hand"

    def probabilities(self, premises: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
        chances = [0.9 if "taught" in text and "Virtue" in premise else 0.1 for premise, text in zip(premises, hypotheses, strict=True)]
        return np.array([[chance, 1 - chance, 0.0] for chance in chances])


def test_k_precision_is_the_share_of_words_counted_as_often_as_they_stand() -> None:
    assert k_precision("knowledge, knowledge, knowledge is the virtue", PASSAGES["p1"]) == pytest.approx(4 / 5)
    assert k_precision("Virtue is KNOWLEDGE.", PASSAGES["p1"]) == 1.0
    assert k_precision("A cat?", PASSAGES["p1"]) == 0.0
    assert k_precision("...", PASSAGES["p1"]) == 0.0
    assert k_precision("知识就是力量", "知识是力") == pytest.approx(4 / 6)


def test_each_sentence_names_the_passage_that_supports_it_best(rag_answer: Any) -> None:
    said = "Virtue is knowledge. A tomcat rested there. Stars are far away."
    rows = support([rag_answer("base + dense", "q1", said, passages=READ)], PASSAGES, embed, None)
    assert [(row.place, row.sentence, row.passage) for row in rows] == [
        (1, "Virtue is knowledge.", "p1"), (2, "A tomcat rested there.", "p2"), (3, "Stars are far away.", "p1"),
    ]  # fmt: skip
    assert [row.support for row in rows] == pytest.approx([1.0, 0.8, 0.0])
    assert [row.supported for row in rows] == [1, 1, 0] and {row.entailment for row in rows} == {None}


def test_only_passages_that_it_read_support_an_answer(rag_answer: Any) -> None:
    answers = [
        rag_answer("base + none", "q1", "Virtue is knowledge."),
        rag_answer("base + dense", "q1", "Nobody knows what it means.", passages=READ),
        rag_answer("base + dense", "q2", " \n", passages=READ),
        rag_answer("base + dense", "q1", "Virtue is knowledge.", passages=READ, variant="draw 1"),
    ]
    rows = support(answers, PASSAGES, embed, None)
    assert [(row.question_id, row.variant, row.supported) for row in rows] == [("q1", "", 0), ("q1", "draw 1", 1)]


def test_the_threshold_itself_is_enough(rag_answer: Any) -> None:
    rows = support(
        [rag_answer("b + d", "q1", f"virtue is knowledge {last} y", passages="p1") for last in ("x", "taught")], PASSAGES, embed, None
    )
    assert [(row.support, row.supported) for row in rows] == [(SUPPORTED, 1), (0.8, 1)]
    below = support([rag_answer("b + d", "q1", "virtue is knowledge x y z", passages="p1")], PASSAGES, embed, None)
    assert [(row.support, row.supported) for row in below] == [(0.5, 0)]


def test_with_an_nli_model_entailment_decides(rag_answer: Any) -> None:
    said = "It was taught by the cat on the mat. Virtue is knowledge."
    rows = support([rag_answer("base + dense", "q1", said, passages="p2 | p1")], PASSAGES, embed, Labels())  # type: ignore[arg-type]
    assert [(row.passage, row.supported, row.entailment) for row in rows] == [("p1", 1, 0.9), ("p1", 0, 0.1)]
    assert rows[1].support == 1.0, "it has all the words, and still doesn't follow"


@pytest.fixture
def answered(rag_answer: Any) -> list[results.RagAnswer]:
    return [
        rag_answer("base + none", "q1", "A tomcat rested.", asked=PASSAGES["p2"]),
        rag_answer("base + none", "q2", "Virtue."),
        rag_answer("base + none", "q3", ""),
        rag_answer("base + dense", "q1", "Virtue is knowledge. Stars are far away.", passages=READ),
        rag_answer("base + dense", "q1", "Drawn by chance.", passages=READ, variant="draw 1"),
        rag_answer("base + dense", "q2", "A tomcat sat.", passages=READ),
        rag_answer("base + dense", "q3", "", passages=READ),
    ]


def test_measures_stand_in_the_order_of_the_plain_answers(answered: list[results.RagAnswer]) -> None:
    rows = support(answered, PASSAGES, embed, None)
    found = {each.metric: each for each in measures(answered, rows, PASSAGES, embed, depends="encoder:by hand")}
    assert list(found) == ["grounding", "k_precision", "relevance"]
    with np.errstate(invalid="ignore"):
        values = {name: each.value(each.statistics) for name, each in found.items()}
    np.testing.assert_allclose(values["grounding"], [np.nan, np.nan, np.nan, 0.5, 1.0, np.nan])
    np.testing.assert_allclose(values["k_precision"], [np.nan, np.nan, np.nan, 3 / 7, 1 / 2, np.nan])
    np.testing.assert_allclose(values["relevance"], [0.8, 1.0, 0.0, 1.0, 0.0, 0.0], atol=1e-12)
    assert found["grounding"].signature.endswith("max(k_precision,cosine)>=0.6|encoder:by hand")
    assert "encoder" not in found["k_precision"].signature
    nli = support(answered, PASSAGES, embed, Labels())  # type: ignore[arg-type]
    assert "entailment>=0.5" in measures(answered, nli, PASSAGES, embed)[0].signature


def test_an_answer_without_passages_spoils_no_mean(answered: list[results.RagAnswer]) -> None:
    plain = [answer for answer in answered if not answer.variant]
    asked = [results.Answer("r", each.model, "x", each.asked, "ref", each.prediction, 1.0, 1, "stop") for each in plain]
    made = measures(answered, support(answered, PASSAGES, embed, None), PASSAGES, embed)
    rows = {(row.model, row.metric): row for row in scores.score(asked, made, {"x": ""}, seed=0) if row.category == "x"}
    grounded = rows["base + dense", "grounding"]
    assert (grounded.value, grounded.n, grounded.reason) == (0.75, 2, "") and grounded.low == 0.5 and grounded.high == 1.0
    nothing = rows["base + none", "grounding"]
    assert (nothing.value, nothing.n, nothing.low) == (None, 0, None)
    assert nothing.reason == "no answer here both read passages and says something"
    assert rows["base + none", "relevance"].n == 3
    cell = paired.Cell("base + dense", "base + none", "x", np.arange(3, 6), np.arange(3))
    compared = {row.metric: row for row in paired.tested("r", [cell], made, seed=0)}
    assert compared["grounding"].difference is None and compared["grounding"].reason
    assert compared["relevance"].difference == pytest.approx((1.0 - 1.8) / 3)


def test_with_the_bundled_encoder_and_a_real_classifier(answered: list[results.RagAnswer], tiny_nli: Any, tmp_path: Any) -> None:
    from core.models.embed import Encoder

    encoder = Encoder()
    said = [*answered, results.RagAnswer(**{**vars(answered[3]), "question_id": "q9", "prediction": "A feline rested on a rug."})]
    rows = support(said, PASSAGES, encoder.embed, None)
    assert [(row.sentence, row.passage) for row in rows if row.question_id == "q9"] == [("A feline rested on a rug.", "p2")]
    one, other = encoder.embed(["A feline rested on a rug.", PASSAGES["p2"]]).astype(float)
    assert rows[-1].support == pytest.approx(float(one @ other), abs=1e-5)
    model = Entailment(str(tiny_nli))
    inferred = support(said, PASSAGES, encoder.embed, model)
    best = max(model.probabilities([PASSAGES[name]], [inferred[0].sentence])[0, 0] for name in ("p1", "p2"))
    assert inferred[0].entailment == pytest.approx(best, abs=1e-5)
    table = results.read(results.write(tmp_path / "support.csv", inferred, results.Support), results.Support)
    assert len(table) == len(inferred) and table["entailment"].between(0, 1).all()
