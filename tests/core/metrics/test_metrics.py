"""Each metric against the library that it follows, on texts that are awkward: empty, very long, foreign, marked up."""

import math
import re
import shutil
import tracemalloc
from itertools import count

import numpy as np
import pytest
import sacrebleu
import torch
from bert_score import score as bert_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from transformers import AutoModel

from core.errors import UserError
from core.metrics import METRICS, score_cache
from core.metrics.batch import Batch
from core.metrics.token_vectors import TokenEncoder
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


ENCODER = {"model_type": str(encoder_folder("bundled")), "num_layers": 6, "device": "cpu"}


def columns(pairs):
    """Predictions, references."""
    return map(list, zip(*pairs, strict=True))


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


@pytest.fixture(autouse=True)
def forget(tmp_path, monkeypatch):
    """A cache of this test alone; called, it is empty again."""
    numbers = count()

    def empty():
        monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / f"cache-{next(numbers)}"))

    empty()
    return empty


@pytest.mark.parametrize("pairs", [PAIRS, PAIRS + EMPTY, PAIRS[:1], EMPTY, LONG, [("a b", "a b")], [("a", "b c d e")]])
def test_bleu_is_sacrebleu(pairs):
    expected = sacrebleu.corpus_bleu([prediction for prediction, _ in pairs], [[reference for _, reference in pairs]]).score
    assert values("bleu", pairs)["bleu"] == pytest.approx(expected, abs=1e-6)


def test_bleu_and_chrf_of_any_sums_are_sacrebleus():
    chance = np.random.default_rng(0)
    words = [chance.choice(["the", "cat", "sat", "on", "mat", "."], size=int(n)) for n in chance.integers(0, 9, 60)]
    pairs = [(" ".join(words[i]), " ".join(words[i + 1])) for i in range(0, 60, 2)]
    for name, corpus in (("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf)):
        measure = METRICS[name].load()(batch(pairs))[0]
        drawn = chance.multinomial(3, np.full(30, 1 / 30), size=200)
        expected = []
        for row in drawn:
            chosen = [pairs[i] for i in np.repeat(np.arange(30), row)]
            expected.append(corpus([prediction for prediction, _ in chosen], [[reference for _, reference in chosen]]).score)
        assert measure.value(drawn @ measure.statistics) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("pairs", [PAIRS, PAIRS + EMPTY, PAIRS[:1], EMPTY, LONG])
def test_chrf_is_sacrebleus(pairs):
    direct = sacrebleu.corpus_chrf([prediction for prediction, _ in pairs], [[reference for _, reference in pairs]])
    assert values("chrf", pairs)["chrf"] == pytest.approx(direct.score, abs=1e-6)
    assert METRICS["chrf"].load()(batch(pairs))[0].signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.")


def test_lengths_and_shares():
    pairs = [("one two three", "one two"), ("", "one two three four"), (" \n", "five"), ("six", "six seven eight")]
    found = values("lengths", pairs, finishes=["length", "stop", "stop", "stop"])
    assert found == {"answer_words": 1.0, "length_ratio": 4 / 10, "empty_share": 0.5, "cut_share": 0.25}
    assert "cut_share" not in values("lengths", pairs), "not known"


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
        lowest = scores[len(PAIRS) :]
        assert (lowest == lowest[0]).all() and lowest[0] < scores[: len(PAIRS)].min()
    found = values("bertscore", EMPTY)
    assert found.pop("bertscore_f1_rescaled") < 0
    assert found == {"bertscore_precision": 0, "bertscore_recall": 0, "bertscore_f1": 0}


@pytest.mark.bundled
def test_texts_that_bertscore_cuts_are_counted():
    notes = [measure.note for measure in METRICS["bertscore"].load()(batch(LONG))]
    assert [note for note in notes if note] == ["BERTScore reads 512 tokens: 2 of 2 texts are longer and were cut."]
    assert not any(measure.note for measure in METRICS["bertscore"].load()(batch(PAIRS[:2])))


@pytest.mark.bundled
def test_many_pairs_score_as_few_do(monkeypatch, forget):
    from core.metrics import bertscore

    whole = METRICS["bertscore"].load()(batch(PAIRS))[2].statistics
    monkeypatch.setattr(bertscore, "_TOKENS", 2)
    forget()
    assert METRICS["bertscore"].load()(batch(PAIRS))[2].statistics == pytest.approx(whole, abs=1e-6)


@pytest.mark.bundled
def test_each_pair_is_bert_scores_in_whatever_company():
    pairs = [*PAIRS, ("no", PAIRS[0][1]), (PAIRS[0][0] * 9, PAIRS[1][1])]
    theirs = bert_score(*columns(pairs), **ENCODER, batch_size=3)
    ours = METRICS["bertscore"].load()(batch(pairs))
    for measure, figures in zip(ours[:3], theirs, strict=True):
        assert measure.statistics[:, 0] == pytest.approx(figures.double().numpy(), abs=1e-6)


@pytest.mark.bundled
def test_rescaled_is_bert_scores_with_the_baseline_of_the_signature(tmp_path):
    ours = METRICS["bertscore"].load()(batch(PAIRS))[3]
    known = float(re.search(r"rescaled:by ([\d.]+)", ours.signature).group(1))
    references = [reference for _, reference in PAIRS]
    unlike = [(one, other) for one in references for other in references if one != other]
    assert known == pytest.approx(bert_score(*columns(unlike), **ENCODER)[2].double().mean().item(), abs=1e-6)
    table = tmp_path / "baseline.tsv"
    table.write_text("LAYER,P,R,F\n" + "\n".join(f"{layer},0,0,{known}" for layer in range(7)) + "\n")
    theirs = bert_score(*columns(PAIRS), **ENCODER, lang="en", rescale_with_baseline=True, baseline_path=str(table))[2]
    assert ours.statistics[:, 0] == pytest.approx(theirs.double().numpy(), abs=1e-6)


@pytest.mark.bundled
def test_each_text_is_encoded_once_and_no_pair_is_scored_twice(monkeypatch):
    encoded, matched = [], []
    encode, match = TokenEncoder.encode, TokenEncoder.match
    monkeypatch.setattr(TokenEncoder, "encode", lambda self, texts: encoded.extend(texts) or encode(self, texts))
    monkeypatch.setattr(TokenEncoder, "match", lambda self, pairs: matched.extend(pairs) or match(self, pairs))
    three_models = PAIRS * 3
    first = METRICS["bertscore"].load()(batch(three_models))
    texts = {text for pair in PAIRS for text in pair}
    baseline = 5 * 4
    assert len(encoded) == len(set(encoded)) == len(texts)
    assert len(matched) == len({*PAIRS}) + baseline
    encoded.clear(), matched.clear()
    again = METRICS["bertscore"].load()(batch(three_models))
    assert not encoded and not matched
    assert [measure.signature for measure in again] == [measure.signature for measure in first]
    assert all((one.statistics == other.statistics).all() for one, other in zip(first, again, strict=True))
    METRICS["bertscore"].load()(batch([("A new answer.", PAIRS[0][1]), *PAIRS[1:]]))
    assert len(encoded) == len(matched) == 1, "the reference's vectors were kept"


@pytest.mark.bundled
def test_another_encoder_finds_nothing_of_the_first(tmp_path):
    other = tmp_path / "encoder"
    shutil.copytree(encoder_folder("bundled"), other)
    model = AutoModel.from_pretrained(other)
    with torch.no_grad():
        model.encoder.layer[5].output.dense.weight.mul_(-1)
    model.save_pretrained(other)
    first, second = (values("bertscore", PAIRS, encoder=name)["bertscore_f1"] for name in ("bundled", str(other)))
    direct = bert_score(*columns(PAIRS), **ENCODER | {"model_type": str(other)})[2]
    assert abs(first - second) > 1e-3 and second == pytest.approx(direct.double().mean().item(), abs=1e-6)


@pytest.mark.bundled
def test_a_damaged_cache_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path))
    (tmp_path / "bertscore.sqlite").write_text("no database at all " * 100)
    with pytest.raises(UserError, match=r"bertscore\.sqlite can't be read .* delete it"):
        values("bertscore", PAIRS)


def test_the_oldest_encodings_go_where_they_are_too_many(monkeypatch):
    monkeypatch.setattr(score_cache, "MOST_BYTES", 3 * 4 * 10)
    cache = score_cache.ScoreCache("encoder")
    for name in "abcd":
        cache.keep_encodings({name: np.full((5, 2), ord(name))})
    found = cache.encodings("abcd")
    assert sorted(found) == ["b", "c", "d"] and found["d"].tolist() == [ord("d")] * 10
    assert score_cache.ScoreCache("another").encodings("abcd") == {}


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


@pytest.mark.parametrize("metric", ["bleu", "chrf", "rouge"])
def test_of_many_answers_sums_are_held_and_not_their_n_grams(metric):
    words = [f"word{number}" for number in range(400)]
    pairs = [(" ".join(words[start : start + 80]), " ".join(words[start + 5 : start + 90])) for start in range(300)]
    measure = METRICS[metric].load()

    def peak(some):
        given = batch(some)
        tracemalloc.start()
        measure(given)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(pairs[:50])
    assert (peak(pairs) - peak(pairs[:50])) / 250 < 4000, "bytes that an answer adds"
