"""A model of inference against transformers itself, and models that are none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from core.errors import UserError
from core.rag.entailment import Entailment

PAIRS = [
    ("A man sleeps on a bench.", "A man is awake."),
    ("Virtue is knowledge.", "Virtue is knowledge."),
    ("One", "A much longer hypothesis, which makes every other pair of its batch be padded, and padding must change nothing."),
    ("A man sleeps on a bench.", "A man is awake."),
    ("", "Something."),
]


def by_transformers(folder: Path, premise: str, hypothesis: str) -> list[float]:
    """Entailment, neutral, contradiction of one pair, alone."""
    tokens = AutoTokenizer.from_pretrained(folder)(premise, hypothesis, return_tensors="pt", truncation="longest_first", max_length=64)
    with torch.no_grad():
        logits = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32").eval()(**tokens).logits[0].double().numpy()
    shares = np.exp(logits) / np.exp(logits).sum()
    return [shares[2], shares[1], shares[0]]


def test_probabilities_are_those_of_each_pair_alone(tiny_nli: Path) -> None:
    found = Entailment(str(tiny_nli)).probabilities(*zip(*PAIRS, strict=True), batch_size=2)
    assert found.shape == (5, 3)
    np.testing.assert_allclose(found, [by_transformers(tiny_nli, *pair) for pair in PAIRS], atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert len(np.unique(found.round(4), axis=0)) == 4, "the pairs are told apart"


def test_texts_beyond_the_model_are_cut(tiny_nli: Path) -> None:
    model = Entailment(str(tiny_nli))
    assert model.max_tokens == 64
    long = "word " * 300
    np.testing.assert_allclose(model.probabilities([long], ["short one"])[0], by_transformers(tiny_nli, long, "short one"), atol=1e-5)
    assert model.probabilities([], []).shape == (0, 3)


def test_what_is_no_model_of_inference_is_said(tiny_nli: Path, tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no model of natural language inference: its labels are LABEL_0, LABEL_1"):
        Entailment(str(tiny_base))
    with pytest.raises(UserError, match="'nobody/nowhere' can't be loaded"):
        Entailment("nobody/nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="can't be loaded"):
        Entailment(str(empty))


def test_a_classifier_without_its_weights_is_refused(tiny_nli: Path, tmp_path: Path) -> None:
    from transformers import BertModel

    folder = tmp_path / "headless"
    shutil.copytree(tiny_nli, folder)
    BertModel.from_pretrained(tiny_nli).save_pretrained(folder)
    config = json.loads((tiny_nli / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="lacks the weights of its classifier"):
        Entailment(str(folder))
