"""The same jobs by one machine and by a cluster of three nodes: the same adapters, tables and verdicts."""

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from core import paths, runs
from core.config import EvaluateConfig, JudgeConfig, MergeConfig, RagConfig, TrainConfig
from core.jobs import local

pytestmark = pytest.mark.ray
CLOCKS = ("run", "seconds", "tokens_per_second", "answer_seconds", "retrieval_seconds")
"""Columns that tell a run or its time."""


@pytest.fixture(scope="module")
def both(tmp_path_factory, cluster, tiny_base, tiny_data):
    """`both(verb, config)`: the runs of a job in a home that computes here, and in one that computes on the cluster."""
    homes = {executor: tmp_path_factory.mktemp(executor) for executor in ("local", "ray")}
    done = {}

    def go(verb, config):
        for executor, home in homes.items():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LYCEUM_HOME", str(home))
                patch.setenv("LYCEUM_CACHE", str(home / "cache"))
                patch.setenv("OMP_NUM_THREADS", "1")
                patch.setenv("LYCEUM_EXECUTOR", executor)
                patch.setenv("RAY_ADDRESS", cluster.address)
                run = local.submit(verb, config)
                list(local.follow(run.run_id))
                done[executor] = runs.read(run.run_id)
                assert done[executor].status == "done", done[executor].error
                assert done[executor].executor == executor
        return homes, done

    return go


@pytest.fixture(scope="module")
def trained(both, tiny_base, tiny_data):
    fields = {"learning_rate": 5e-3, "batch_size": 3, "epochs": 8, "r": 4}
    return both("train", TrainConfig(data=str(tiny_data), base_model=str(tiny_base), device="cpu", **fields))


@pytest.fixture(scope="module")
def evaluated(both, trained, tiny_base, tiny_data):
    models = ("base", "cynic-lora", "lexicon-lora", "hacker-lora")
    fields = {"max_new_tokens": 16, "batch_size": 4, "split": "train", "limit": 30}
    return both("evaluate", EvaluateConfig(data=str(tiny_data), base_model=str(tiny_base), models=models, device="cpu", **fields))


def test_adapters_are_the_same(trained):
    homes, _ = trained
    names = sorted(folder.name for folder in (homes["local"] / "adapters").iterdir())
    assert names == ["cynic-lora", "hacker-lora", "lexicon-lora"]
    for name in names:
        here, there = (load_file(homes[executor] / "adapters" / name / "adapter_model.safetensors") for executor in ("local", "ray"))
        assert here.keys() == there.keys()
        for key in here:
            torch.testing.assert_close(there[key], here[key], rtol=0, atol=1e-4)


def test_the_training_tables_are_the_same(trained):
    same(trained, "steps.csv", "validation_rows.csv", "first_batch.csv")


def test_an_evaluation_has_the_same_tables(evaluated):
    same(evaluated, "answers.csv", "scores.csv", "answer_scores.csv", "comparisons.csv", "flags.csv")


def test_a_judge_gives_the_same_verdicts(both, evaluated):
    same(both("judge", JudgeConfig(candidate="cynic-lora", backend=("similarity",))), "verdicts.csv", "audit.csv")


def test_a_merge_is_the_same(both, trained):
    homes, done = both(
        "merge", MergeConfig(adapters=("cynic-lora", "lexicon-lora"), weights=(0.5, 0.5), strategy="ties", density=0.5, name="both")
    )
    here, there = (load_file(homes[executor] / "merged_adapters" / "both" / "adapter_model.safetensors") for executor in ("local", "ray"))
    for key in here:  # of adapters that are the same within what fp32 rounds
        torch.testing.assert_close(there[key], here[key], rtol=0, atol=1e-4)
    assert done["ray"].outputs["fidelity"] == pytest.approx(done["local"].outputs["fidelity"], abs=1e-3)


def test_rag_finds_and_answers_the_same(both, trained, tiny_base, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "virtue.txt").write_text("Patience is a virtue. Virtue is enough for a good life. A dog needs little.", encoding="utf-8")
    (docs / "words.txt").write_text("A word is a sign. An essay is an attempt. A lexicon is a book of words.", encoding="utf-8")
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "What is patience?", "answer": "A virtue.", "category": "cynic"}\n', encoding="utf-8")
    fields = {"max_new_tokens": 8, "models": ("base", "cynic-lora"), "pipelines": ("none", "bm25", "dense"), "device": "cpu"}
    given = RagConfig(docs_dir=str(docs), questions=str(questions), base_model=str(tiny_base), **fields)
    same(both("rag", given), "rag_answers.csv", "retrieved.csv", "scores.csv")


def test_nothing_of_the_cluster_is_left_in_the_run(trained, evaluated):
    for homes, done in (trained, evaluated):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LYCEUM_HOME", str(homes["ray"]))
            names = {path.name for path in paths.results().joinpath(done["ray"].run_id).iterdir()}
        assert not {"work", "hands"} & names


def same(both, *tables):
    homes, done = both
    for table in tables:
        here, there = (pd.read_csv(homes[executor] / "results" / done[executor].run_id / table) for executor in ("local", "ray"))
        clocks = [column for column in CLOCKS if column in here]
        pd.testing.assert_frame_equal(there.drop(columns=clocks), here.drop(columns=clocks), rtol=1e-4, atol=1e-5, obj=table)
