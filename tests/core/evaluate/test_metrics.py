"""Each metric against the library that it follows, on texts that are awkward: empty, very long, foreign, marked up."""

import math

import numpy as np
import pytest
import sacrebleu
from bert_score import score as bert_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from core.errors import UserError
from core.evaluate import METRICS
from core.evaluate.batch import Batch
from core.models.embed import encoder_folder

PAIRS = [
    ("The cat sat on the mat and looked at the dog.", "The cat sat on the mat."),
    ("A railroad gets us away from where we are.", "The chief of many mechanical devices enabling us to get away."),
    ("Никто не знает, что это значит.", "Nobody knows what it means."),
    ('<b>bold</b> & "quoted", line\nbreak .', "bold & quoted, line break."),
    ("same text here", "same text here"),
]
LONG = [("word " * 560, "word " * 530)]
EMPTY = [("", "An answer was expected."), ("  \n", "Here too."), ("\u200b", "And here.")]


def batch(pairs, **changes):
    fields = {
        "predictions": [prediction for prediction, _ in pairs],
        "references": [reference for _, reference in pairs],
        "reference_losses": np.linspace(3.0, 40.0, len(pairs)),
        "reference_tokens": np.arange(2.0, 2.0 + len(pairs)),
        "model_signature": "base:tiny",
        "encoder": "bundled",
        "device": "cpu",
    }
    return Batch(**fields | changes)


def values(metric, pairs, **changes):
    """Metric name -> value over all pairs."""
    return {
        measure.metric: measure.value(measure.statistics.sum(axis=0, keepdims=True))[0]
        for measure in METRICS[metric].load()(batch(pairs, **changes))
    }


@pytest.mark.parametrize("pairs", [PAIRS, PAIRS + EMPTY, PAIRS[:1], EMPTY, LONG])
def test_bleu_is_sacrebleu(pairs):
    expected = sacrebleu.corpus_bleu([prediction for prediction, _ in pairs], [[reference for _, reference in pairs]]).score
    assert values("bleu", pairs)["bleu"] == pytest.approx(expected, abs=1e-6)


def test_bleu_signature_is_sacrebleus():
    scorer = BLEU()
    scorer.corpus_score(["a b"], [["a b"]])
    assert METRICS["bleu"].load()(batch(PAIRS))[0].signature == str(scorer.get_signature())


@pytest.mark.parametrize("pairs", [PAIRS, PAIRS + EMPTY])
def test_rouge_is_rouge_score(pairs):
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    found = values("rouge", pairs)
    for kind, value in found.items():
        assert value == pytest.approx(
            np.mean([scorer.score(reference, prediction)[kind].fmeasure for prediction, reference in pairs]), abs=1e-6
        )
    assert list(found) == ["rouge1", "rouge2", "rougeL"]


@pytest.mark.bundled
@pytest.mark.parametrize("pairs", [PAIRS, LONG])
def test_bertscore_is_bert_score(pairs):
    direct = bert_score(
        [prediction for prediction, _ in pairs], [reference for _, reference in pairs],
        model_type=str(encoder_folder("bundled")), num_layers=6, device="cpu",
    )  # fmt: skip
    found = values("bertscore", pairs)
    for name, figures in zip(("precision", "recall", "f1"), direct, strict=True):
        assert found[f"bertscore_{name}"] == pytest.approx(figures.double().mean().item(), abs=1e-6)


@pytest.mark.bundled
def test_an_empty_answer_gets_the_lowest_bertscore():
    measures = METRICS["bertscore"].load()(batch(PAIRS + EMPTY))
    for measure in measures:
        scores = measure.statistics[:, 0]
        assert (scores[len(PAIRS) :] == 0).all() and (scores[: len(PAIRS)] > 0).all()
    assert values("bertscore", EMPTY) == {"bertscore_precision": 0, "bertscore_recall": 0, "bertscore_f1": 0}


@pytest.mark.bundled
def test_texts_that_bertscore_cuts_are_counted():
    notes = [measure.note for measure in METRICS["bertscore"].load()(batch(LONG))]
    assert [note for note in notes if note] == ["BERTScore reads 512 tokens: 2 of 2 texts are longer and were cut."]
    assert not any(measure.note for measure in METRICS["bertscore"].load()(batch(PAIRS[:2])))


@pytest.mark.bundled
def test_many_pairs_score_as_few_do(monkeypatch):
    from core.evaluate import bertscore

    whole = METRICS["bertscore"].load()(batch(PAIRS))[2].statistics
    monkeypatch.setattr(bertscore, "_CHUNK", 2)
    assert METRICS["bertscore"].load()(batch(PAIRS))[2].statistics == pytest.approx(whole, abs=1e-6)


def test_an_encoder_that_is_not_there_is_one_sentence():
    with pytest.raises(UserError, match=r"^encoder=nobody/nothing can't be loaded for BERTScore") as error:
        values("bertscore", PAIRS, encoder="nobody/nothing")
    assert "\n" not in str(error.value)


def test_an_encoder_folder_without_a_model_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="can't be loaded for BERTScore"):
        values("bertscore", PAIRS, encoder=str(tmp_path))


def test_perplexity_weighs_tokens_not_rows():
    found = values("perplexity", PAIRS[:2], reference_losses=np.array([2.0, 30.0]), reference_tokens=np.array([4.0, 12.0]))
    assert found["perplexity"] == pytest.approx(math.exp(2.0))


def test_every_row_of_the_table_gives_one_row_of_statistics_per_answer():
    for name, entry in METRICS.items():
        assert entry.reference and entry.summary
        for measure in entry.load()(batch(PAIRS[:2])):
            assert len(measure.statistics) == 2 and measure.signature, name
