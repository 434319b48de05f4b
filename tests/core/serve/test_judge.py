"""`python -m core judge` end to end: the real groq and openai clients ask the engine, whose base model always says A."""

import csv
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core import paths, results
from core.__main__ import main
from core.config import ServeConfig
from core.serve import resident


@pytest.fixture(scope="module")
def says_a(tiny_base, tmp_path_factory):
    """A Llama that reads its last token alone: after a prompt it says A, and then it ends."""
    folder = tmp_path_factory.mktemp("says") / "says-a"
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    opened, said = tokenizer("\n")["input_ids"], tokenizer("A")["input_ids"]
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedded, head = model.model.embed_tokens.weight.zero_(), model.lm_head.weight.zero_()
        embedded[opened, 0] = embedded[said, 1] = 1
        head[said, 0] = head[tokenizer.eos_token_id, 1] = 1
    model.config.max_position_embeddings = 4096
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def answers(tmp_path):
    """Answers of a base and a tuned model to three questions."""
    file = tmp_path / "answers.csv"
    with file.open("w", newline="", encoding="utf-8") as handle:
        out = csv.writer(handle)
        out.writerow(["run", "model", "category", "question", "reference", "prediction"])
        for nth in range(3):
            for model, prediction in (("base", "Courage."), ("tuned", f"Virtue is knowledge, {nth}.")):
                out.writerow(["r", model, "ethics", f"What is virtue, {nth}?", "Virtue is knowledge.", prediction])
    return file


@pytest.mark.parametrize("backend", ["groq", "openai"])
def test_verdicts_come_from_the_engine(serve, says_a, answers, monkeypatch, capsys, backend):
    served = serve(base_model=str(says_a))
    monkeypatch.setenv("GROQ_API_KEY", "any")
    url = served.address.address + ("/v1" if backend == "openai" else "")
    asked = ["--backend", backend, "--base_url", url, "--judge_model", "base", "--answers", str(answers), "--candidate", "tuned"]
    assert main(["judge", *asked, "--concurrency", "6"]) == 0, capsys.readouterr().err
    run_id = json.loads(capsys.readouterr().out)["run_id"]
    verdicts = results.read(paths.results() / run_id / "verdicts.csv", results.Verdict)
    assert len(verdicts) == 3
    assert set(verdicts["first_reply"]) == set(verdicts["second_reply"]) == {"A"}
    assert set(verdicts["first_verdict"]) == {"base"} and set(verdicts["second_verdict"]) == {"fine-tuned"}
    assert set(verdicts["verdict"]) == {"tie"}, "it says A in both orders"
    assert (verdicts["tokens"] > 500).all(), "prompt and reply of both orders"
    assert sum(served.passes) == 12, "two tokens for each of six calls: none was asked twice"


def test_a_model_that_the_engine_lacks_is_named_with_what_it_offers(serve, says_a, answers, monkeypatch, capsys):
    served = serve(base_model=str(says_a))
    monkeypatch.setenv("GROQ_API_KEY", "any")
    monkeypatch.setenv("GROQ_BASE_URL", served.address.address)
    assert main(["judge", "--backend", "groq", "--answers", str(answers), "--candidate", "tuned"]) != 0
    assert "It offers: base." in capsys.readouterr().err
    assert served.passes == []


def test_the_engine_that_lives_in_the_home_judges_without_an_address(says_a, answers, capsys):
    resident.start(ServeConfig(base_model=str(says_a), device="cpu"))
    try:
        assert main(["judge", "--backend", "engine", "--answers", str(answers), "--candidate", "tuned"]) == 0, capsys.readouterr().err
    finally:
        resident.stop()
    run_id = json.loads(capsys.readouterr().out)["run_id"]
    verdicts = results.read(paths.results() / run_id / "verdicts.csv", results.Verdict)
    assert set(verdicts["first_reply"]) == set(verdicts["second_reply"]) == {"A"} and set(verdicts["verdict"]) == {"tie"}
