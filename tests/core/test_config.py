"""Configs: frozen, nothing unknown, the same through JSON, lists from text."""

import pytest
from pydantic import ValidationError

from core.config import DataConfig, DemoConfig, EvaluateConfig, JudgeConfig, MergeConfig, RagConfig, TrainConfig
from core.errors import UserError
from core.jobs.configure import configure
from core.verbs import VERBS

EXAMPLES = [
    DataConfig(data="a.csv", category_column="school"),
    TrainConfig(categories=("a", "b c"), max_steps=3, learning_rate=2e-3),
    MergeConfig(adapters=("a", "b"), weights=(-0.5, 0.0), strategy="svd", rank=4),
    EvaluateConfig(models=("base",), metrics=("bleu",)),
    JudgeConfig(backend="openai", base_url="http://127.0.0.1:1/v1"),
    RagConfig(docs_dir="docs", question="What?", models=("base", "own"), answer_with=("none", "dense")),
    DemoConfig(seed=5),
]


@pytest.mark.parametrize("config", EXAMPLES, ids=lambda config: type(config).__name__)
def test_a_config_survives_its_job_file(config):
    assert type(config).model_validate_json(config.model_dump_json()) == config
    assert type(config)(**config.model_dump(mode="json")) == config


@pytest.mark.parametrize("config", EXAMPLES, ids=lambda config: type(config).__name__)
def test_a_config_cannot_be_changed_and_takes_nothing_unknown(config):
    with pytest.raises(ValidationError, match="frozen"):
        config.__setattr__(next(iter(type(config).model_fields)), "x")
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(config)(**config.model_dump(), no_such_field=1)


@pytest.mark.parametrize(("text", "names"), [("a", ("a",)), ("a, b,,c ", ("a", "b", "c")), ('["a, b", "c"]', ("a, b", "c")), ("", ())])
def test_names_from_text(text, names):
    assert TrainConfig(categories=text).categories == names


def test_numbers_from_text():
    assert MergeConfig(adapters="a,b,c", weights="1, -0.5,0").weights == (1.0, -0.5, 0.0)


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        (TrainConfig, {"method": "lorra"}, "Unknown tuning method 'lorra'"),
        (MergeConfig, {"adapters": "a", "strategy": "tiez"}, "Unknown merge strategy 'tiez'"),
        (EvaluateConfig, {"metrics": "blue"}, "Unknown metric 'blue'"),
        (JudgeConfig, {"backend": "oracle"}, "Unknown judge backend 'oracle'"),
        (MergeConfig, {"adapters": ""}, "No adapters were given"),
        (MergeConfig, {"adapters": "a,b", "weights": "1,2,3"}, "3 weights were given for 2 adapters"),
        (RagConfig, {"chunk_size": 64, "chunk_overlap": 64}, "chunk_overlap=64 is not below chunk_size=64"),
        (RagConfig, {"chunk_size": 256, "parent_size": 128}, "parent_size=128 is below chunk_size=256"),
        (RagConfig, {"pipelines": "none,bm25", "answer_with": "dense"}, "answer_with=dense is not among pipelines=none,bm25"),
        (RagConfig, {"top_k": 5, "candidates": 4}, "top_k=5 is more than the candidates=4"),
        (RagConfig, {"max_new_tokens": 64, "max_seq_length": 64}, "max_new_tokens=64 leaves no room for a prompt"),
        (RagConfig, {"pipelines": "bm52"}, "Unknown pipeline 'bm52'. Choose one of: none, dense, bm25"),
    ],
)
def test_unknown_words_and_missing_weights_are_told(kind, fields, sentence):
    with pytest.raises(UserError, match=sentence):
        kind(**fields)


def test_configure_tells_every_wrong_field_in_one_sentence():
    with pytest.raises(UserError) as error:
        configure("train", {"epochs": -1, "keep": "all", "data": 5})
    lines = str(error.value).splitlines()
    assert [line.split("=")[0] for line in lines] == ["data", "epochs", "keep"]
    assert lines[1] == "epochs=-1 can't be used: it should be greater than 0. Passes over each adapter's training rows."


@pytest.mark.parametrize(
    ("verb", "fields", "sentence"),
    [
        ("merge", {"adapters": "a,b", "weights": "nan,1"}, "weights=nan can't be used: it should be a finite number"),
        ("merge", {"adapters": "a,b", "weights": "1,inf"}, "weights=inf can't be used: it should be a finite number"),
        ("merge", {"adapters": "a,b", "ties_lambda": "2"}, "Strategy linear takes no mean of agreeing entries, so ties_lambda=2 would"),
        ("train", {"lora_alpha": "inf"}, "lora_alpha=inf can't be used: it should be a finite number"),
        ("train", {"seed": "-1"}, "seed=-1 can't be used: it should be greater than or equal to 0"),
        ("evaluate", {"seed": str(2**32)}, "seed=4294967296 can't be used: it should be less than 4294967296"),
        ("train", {"target_modules": ""}, "target_modules is empty. Name at least one."),
        ("evaluate", {"models": " , "}, "models is empty. Name at least one."),
        ("evaluate", {"metrics": ""}, "metrics is empty. Name at least one."),
    ],
)
def test_what_no_computation_could_use_is_told_before_anything_runs(verb, fields, sentence):
    with pytest.raises(UserError) as error:
        configure(verb, fields)
    assert str(error.value).startswith(sentence)


def test_configure_answers_an_unknown_verb_with_the_known_ones():
    with pytest.raises(UserError, match=f"Unknown verb 'tame'. Choose one of: {', '.join(VERBS)}."):
        configure("tame", {})
