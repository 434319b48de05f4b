"""CONTRIBUTING's examples, done: each is put into a copy of the project as it is printed, found where people look, and run."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from core import adapter, paths
from core.config import DataConfig
from core.data.read import read
from core.models.embed import Encoder
from tests.docs import contributed

THINGS = contributed.read()
WHERE = {
    "STRATEGIES": ("merge", "strategies"),
    "METRICS": ("evaluate", "metrics"),
    "METHODS": ("train", "methods"),
    "PIPELINES": ("rag", "pipelines"),
    "BACKENDS": ("judge", "backends"),
    "ROUTERS": ("route", "routers"),
}
"""By table: the verb that chooses from it, and the table of the documentation."""
TINY = ["--max_seq_length", "128", "--device", "cpu", "--precision", "fp32"]


def attempt(project: Path, home: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What try_added.py saw in the copy."""
    environment = {**os.environ, "PYTHONPATH": str(project), "LYCEUM_HOME": str(home)}
    words = [sys.executable, "tests/docs/try_added.py", json.dumps(asked)]
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def put(folder: Path, *tables: str) -> Path:
    """A copy of the project with some of the things added."""
    project = contributed.copy(folder)
    for table in tables:
        contributed.put(THINGS[table], project)
    return project


def assert_listed(seen: dict[str, Any], tables: list[str], keys: list[str]) -> None:
    """In --help, in a form, and in the documentation's table."""
    for table, key in zip(tables, keys, strict=True):
        (verb, name), thing = WHERE[table], THINGS[table]
        label = thing.row.split('"')[3]
        assert f", {thing.word}; default:" in seen["help"][verb] or f", {thing.word};" in seen["help"][verb], verb
        assert label in seen["forms"][key], (label, seen["forms"][key])
        [row] = (line for line in seen["tables"][name].splitlines() if line.startswith(f"| `{thing.word}` |"))
        assert label in row


def test_every_kind_of_thing_has_its_example() -> None:
    assert set(THINGS) == set(WHERE)


def test_the_examples_pass_the_linters(tmp_path: Path) -> None:
    project = put(tmp_path / "project", *WHERE)
    shutil.copy(paths.PROJECT / "pyproject.toml", project)
    files = [name for thing in THINGS.values() for name in (thing.file, thing.init)]
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, *files], cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_data: Path) -> tuple[Path, dict[str, Any]]:
    """A home in which the added method trained, the added strategy merged and the added metric scored; and what was seen."""
    folder = tmp_path_factory.mktemp("contributed")
    project, home = put(folder / "project", "STRATEGIES", "METRICS", "METHODS"), folder / "home"
    given = ["--data", str(tiny_data), "--base_model", str(tiny_base), *TINY]
    train = ["train", *given, "--categories", "cynic,lexicon", "--r", "4", "--max_steps", "4", "--batch_size", "2"]
    asked = {
        "do": [
            [*train, "--method", "rslora", "--lora_alpha", "8"],
            [*train, "--method", "lora", "--lora_alpha", "16"],
            ["merge", "--adapters", "cynic-rslora,lexicon-rslora", "--weights", "0.7,-0.4", "--strategy", "magmax", "--rank", "64"],
            ["evaluate", *given, "--models", "base,magmax_merged_adapter", "--metrics", "word_errors", "--max_new_tokens", "12"],
        ],
        "help": ["train", "merge", "evaluate"],
        "forms": {"train": ["train.method"], "merge": ["merge.strategy"], "evaluate": ["evaluate.metrics", "metric"]},
        "tables": ["methods", "strategies", "metrics"],
    }
    return home, attempt(project, home, asked)


def test_strategy_metric_and_method_show_up_in_command_line_forms_and_docs(added: tuple[Path, dict[str, Any]]) -> None:
    assert_listed(added[1], ["METHODS", "STRATEGIES", "METRICS"], ["train.method", "merge.strategy", "evaluate.metrics"])
    assert "word_error_rate" in added[1]["forms"]["metric"], "the matrix shows what was scored"


def test_the_method_trains_as_lora_does_at_the_alpha_that_gives_the_same_scale(added: tuple[Path, dict[str, Any]]) -> None:
    """alpha / sqrt(r) = 8 / 2 = 16 / 4."""
    for category in ("cynic", "lexicon"):
        new, usual = (adapter.read(added[0] / "adapters" / f"{category}-{method}") for method in ("rslora", "lora"))
        assert new.info["method"] == "rslora" and new.factors
        for layer, factor in new.factors.items():
            other = usual.factors[layer]
            assert factor.scale == pytest.approx(8 / 4**0.5) and factor.B.any()
            assert torch.equal(factor.A, other.A) and torch.equal(factor.B, other.B)


def test_the_strategy_lets_the_largest_vote_decide_each_entry(added: tuple[Path, dict[str, Any]]) -> None:
    parents = [adapter.read(added[0] / "adapters" / f"{name}-rslora").factors for name in ("cynic", "lexicon")]
    merged = adapter.read(added[0] / "merged_adapters" / "magmax_merged_adapter").factors
    assert set(merged) == set(parents[0])
    for layer, made in merged.items():
        cynic, lexicon = ((each[layer].B.double() @ each[layer].A.double() * each[layer].scale).numpy() for each in parents)
        one, other = 0.7 * cynic, -0.4 * lexicon
        expected = 1.1 * (one / 0.7 * (abs(one) > abs(other)) + other / 0.4 * (abs(one) <= abs(other)))
        found = (made.B.double() @ made.A.double() * made.scale).numpy()
        assert abs(found - expected).max() < 1e-5 * abs(expected).max()


def test_the_metric_counts_edits(added: tuple[Path, dict[str, Any]]) -> None:
    home, seen = added
    outputs = seen["do"][-1]
    answers, scores = (pd.read_csv(home / outputs[name], keep_default_na=False) for name in ("answers", "scores"))
    for model in ("base", "magmax_merged_adapter"):
        mine = answers[answers["model"] == model]
        pairs = [(str(said).split(), str(wanted).split()) for said, wanted in zip(mine["prediction"], mine["reference"], strict=True)]
        expected = sum(edits(tuple(said), tuple(wanted)) for said, wanted in pairs) / sum(len(wanted) for _, wanted in pairs)
        [row] = scores[(scores["model"] == model) & (scores["category"] == "(all)")].to_dict("records")
        assert row["metric"] == "word_error_rate" and float(row["value"]) == pytest.approx(expected) and row["n"] == len(mine)
        assert float(row["low"]) <= expected <= float(row["high"])


@cache
def edits(said: tuple[str, ...], wanted: tuple[str, ...]) -> int:
    """Levenshtein's distance, as it is defined."""
    if not said or not wanted:
        return len(said) + len(wanted)
    if said[0] == wanted[0]:
        return edits(said[1:], wanted[1:])
    return 1 + min(edits(said[1:], wanted), edits(said, wanted[1:]), edits(said[1:], wanted[1:]))


# --- the other kinds --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_data: Path) -> tuple[Path, dict[str, Any]]:
    """A home in which the added pipeline searched, the added judge judged and the added router made a route; and what was seen."""
    folder = tmp_path_factory.mktemp("contributed")
    project, home = put(folder / "project", "PIPELINES", "BACKENDS", "ROUTERS"), folder / "home"
    given = ["--data", str(tiny_data), "--base_model", str(tiny_base), *TINY]
    adapters = "cynic-lora,lexicon-lora"
    asked = {
        "do": [
            ["train", *given, "--categories", "cynic,lexicon", "--max_steps", "4", "--learning_rate", "0.01"],
            ["evaluate", *given, "--models", "base,cynic-lora", "--metrics", "lengths", "--max_new_tokens", "24"],
            ["judge", "--answers", "last", "--candidate", "cynic-lora", "--backend", "overlap"],
            ["route", "--data", str(tiny_data), "--adapters", adapters, "--router", "nearest_mean"],
            [
                *("rag", "--docs_dir", "data/rag/wisdom_docs", "--question", "What does anger do to a wise man?", "--candidates", "6"),
                *("--pipelines", "none,hybrid,rerank,hybrid_rerank", "--models", "", "--base_model", str(tiny_base)),
            ],
        ],
        "help": ["rag", "judge", "route"],
        "forms": {"rag": ["rag.pipelines"], "judge": ["judge.backend"], "evaluate": ["route.router"]},
        "tables": ["pipelines", "backends", "routers"],
    }
    return home, attempt(project, home, asked)


@pytest.mark.slow
def test_pipeline_judge_and_router_show_up_in_command_line_forms_and_docs(others: tuple[Path, dict[str, Any]]) -> None:
    assert_listed(others[1], ["PIPELINES", "BACKENDS", "ROUTERS"], ["rag.pipelines", "judge.backend", "route.router"])


@pytest.mark.slow
def test_the_pipeline_orders_what_hybrid_finds_by_the_rerankers_score(others: tuple[Path, dict[str, Any]]) -> None:
    home, seen = others
    found = pd.read_csv(home / seen["do"][-1]["retrieved"])
    hybrid, dense, both = (found[found["pipeline"] == name].set_index("passage") for name in ("hybrid", "rerank", "hybrid_rerank"))
    assert set(both.index) == set(hybrid.index) and len(both) == 6
    assert list(both.sort_values("rank")["score"]) == sorted(both["score"], reverse=True)
    common = both.index.intersection(dense.index)
    assert len(common) >= 2 and both.loc[common, "score"].to_numpy() == pytest.approx(dense.loc[common, "score"].to_numpy(), abs=1e-5)


@pytest.mark.slow
def test_the_judge_prefers_the_answer_that_shares_more_words(others: tuple[Path, dict[str, Any]]) -> None:
    home, seen = others
    verdicts = pd.read_csv(home / seen["do"][2]["verdicts"], keep_default_na=False)
    assert len(verdicts) and (verdicts["judge"] == "overlap (not a language model)").all()
    for row in verdicts.to_dict("records"):
        base, candidate = (shared(row[f"{who}_prediction"], row["reference"]) for who in ("base", "candidate"))
        assert row["verdict"] == ("tie" if base == candidate else "base" if base > candidate else "fine-tuned")
    assert verdicts["verdict"].nunique() > 1, "all the same, so this shows little"


@pytest.mark.slow
def test_the_router_knows_the_means_of_train_questions(others: tuple[Path, dict[str, Any]], tiny_data: Path) -> None:
    route = load_file(others[0] / others[1]["do"][3]["route"] / paths.ROUTER)
    rows = read(DataConfig(data=str(tiny_data))).select("train")
    means = [Encoder("bundled").embed([row.question for row in rows if row.category == name]).mean(0) for name in ("cynic", "lexicon")]
    assert route["directions"] == pytest.approx(np.stack(means), abs=1e-5)
    assert route["bias"] == pytest.approx([-float(mean @ mean) / 2 for mean in means], abs=1e-5)


def shared(text: str, reference: str) -> float:
    """2 |both| / (|one| + |other|), words with their number."""
    one, other = (sorted(each.lower().split()) for each in (text, reference))
    both = sum(min(one.count(word), other.count(word)) for word in set(one))
    return 2 * both / max(1, len(one) + len(other))
