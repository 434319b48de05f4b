"""Answers of cells, written short."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core import results

MakeAnswer = Callable[..., results.RagAnswer]


@pytest.fixture
def rag_answer() -> MakeAnswer:
    """`rag_answer("base + dense", "q1", "An answer.", variant="draw 1", passages="p1 | p2", asked="Why?")`."""

    def make(model: str, question_id: str, prediction: str, **fields: str) -> results.RagAnswer:
        generator, pipeline = model.split(" + ")
        row = {"variant": "", "asked": f"{question_id}?", "finish": "stop", "passages": "", **fields}
        return results.RagAnswer(
            run="r",
            model=model,
            generator=generator,
            pipeline=pipeline,
            question_id=question_id,
            prediction=prediction,
            prompt_tokens=9,
            retrieval_seconds=0.1,
            seconds=1.0,
            **row,
        )

    return make


@pytest.fixture(scope="session")
def tiny_nli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT that classifies pairs, its labels in an order of their own; the tokenizer is the bundled encoder's."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from core.models.embed import encoder_folder

    folder = tmp_path_factory.mktemp("nli") / "tiny-nli"
    config = BertConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=66,
        initializer_range=0.5,
        id2label={0: "CONTRADICTION", 1: "neutral", 2: "Entailment"},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder_folder("bundled")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT that embeds (16 wide, texts of at most 80 tokens); the tokenizer is the bundled encoder's."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from core.models.embed import encoder_folder

    folder = tmp_path_factory.mktemp("encoder") / "tiny-encoder"
    config = BertConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=80, initializer_range=0.5
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder_folder("bundled")).save_pretrained(folder)
    return folder
