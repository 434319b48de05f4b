"""An evaluation from files to tables: its models, its answers, and figures that the libraries confirm from answers.csv."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import sacrebleu
import torch
from bert_score import score as bert_score
from rouge_score.rouge_scorer import RougeScorer

from core import adapter, paths, results, runs
from core.adapter import Adapter, Factor
from core.answering.models import find_models
from core.config import EvaluateConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.errors import UserError
from core.evaluate.run import run
from core.models import load
from core.models.embed import encoder_folder
from core.models.generate import generate
from core.runs import Workspace
from core.wording import three


def make_adapter(base, name, seed, folder=None, **info):
    """A random adapter of rank 2 or 3, strong enough to change answers."""
    chance = torch.Generator().manual_seed(seed)
    factors = {}
    for layer, module in base.model.named_modules():
        if layer.endswith(("q_proj", "v_proj")):
            rank = 2 + seed % 2
            A, B = torch.randn(rank, module.in_features, generator=chance), torch.randn(module.out_features, rank, generator=chance)
            factors[layer] = Factor(A * 0.2, B * 0.2, 0.5)
    info = {"role": "own", "base_model": base.name, "base_hash": base.content_hash, "quantization": "none"} | info
    return adapter.write(Adapter(name, factors, base.hub_name, info), folder or paths.adapters() / name)


def make_recipe(name, parents, weights):
    """An exact sum that was shipped as its recipe."""
    folder = paths.merged_adapters() / name
    folder.mkdir(parents=True)
    shutil.copy(paths.adapters() / parents[0] / "adapter_config.json", folder)
    hashes = [adapter.content_hash(paths.adapters() / parent) for parent in parents]
    recipe = {"strategy": "linear", "weights": weights, "adapters": parents, "hashes": hashes, "rank": 8}
    base_info = adapter.read_info(paths.adapters() / parents[0])
    (folder / "run.json").write_text(json.dumps({**base_info, "role": "merged", "categories": [], "recipe": recipe}))
    return folder


class Evaluated(NamedTuple):
    config: EvaluateConfig
    home: Path
    outputs: dict
    models: pd.DataFrame
    answers: pd.DataFrame
    scores: pd.DataFrame
    said: list[str]
    progress: list[dict]


def evaluate(config):
    workspace = Workspace(runs.create("evaluate", config.model_dump(mode="json")))
    outputs = run(config, workspace)
    tables = {"models": results.Model, "answers": results.Answer, "scores": results.Score}
    read_back = {name: results.read(paths.home() / outputs[name], row) for name, row in tables.items()}
    said = [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]
    progress = runs.read_events(workspace.run.run_id, "progress")
    return Evaluated(config, paths.home(), outputs, **read_back, said=said, progress=progress)


@pytest.fixture(scope="module")
def base(tiny_base):
    return load.load(str(tiny_base), device="cpu")


@pytest.fixture(scope="module")
def evaluated_once(base, tiny_base, tiny_data, tmp_path_factory):
    """base, two own adapters, one pooled, and a recipe of the two: all on the same questions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCEUM_HOME", str(tmp_path_factory.mktemp("evaluated")))
        make_adapter(base, "cynic-lora", 1, categories=["cynic"])
        make_adapter(base, "lexicon-lora", 2, categories=["lexicon"])
        make_adapter(base, "pooled-lora", 3, role="pooled", categories=["cynic", "lexicon", "hacker"])
        make_adapter(base, "stranger", 4, base_model="another", base_hash="0" * 16)
        make_recipe("sum", ["cynic-lora", "lexicon-lora"], [0.5, -0.25])
        config = EvaluateConfig(data=str(tiny_data), base_model=str(tiny_base), split="train", limit=4, max_new_tokens=20, device="cpu")
        return evaluate(config)


@pytest.fixture
def evaluated(evaluated_once, monkeypatch):
    monkeypatch.setenv("LYCEUM_HOME", str(evaluated_once.home))
    return evaluated_once


def test_all_is_base_and_everything_made_on_it(evaluated):
    assert evaluated.models[["model", "role", "category"]].values.tolist() == [
        ["base", "base", ""],
        ["pooled-lora", "pooled", ""],
        ["cynic-lora", "own", "cynic"],
        ["lexicon-lora", "own", "lexicon"],
        ["sum", "merged", ""],
    ]
    assert evaluated.models["path"].tolist()[2:] == ["adapters/cynic-lora", "adapters/lexicon-lora", "merged_adapters/sum"]
    assert any("Left out: stranger was made on another" in message for message in evaluated.said)


def test_every_model_answers_every_question(evaluated):
    questions = read(evaluated.config).select("train", limit=4)
    assert len(questions) == 12 and len(evaluated.answers) == 12 * len(evaluated.models)
    for _, rows in evaluated.answers.groupby("model", sort=False):
        assert rows["question"].tolist() == [row.question for row in questions]
        assert rows["reference"].tolist() == [row.answer for row in questions]
    assert evaluated.answers.groupby("model")["prediction"].apply(tuple).nunique() == len(evaluated.models)
    last = evaluated.progress[-1]
    assert (last["done"], last["total"], last["unit"]) == (len(evaluated.answers), len(evaluated.answers), "answers")


def test_a_model_in_the_batch_answers_as_peft_does_alone(evaluated, base, tiny_base):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(model, paths.home() / "adapters" / "lexicon-lora").eval()
    prompter = Prompter(base.tokenizer)
    for row in evaluated.answers[evaluated.answers["model"] == "lexicon-lora"].head(4).itertuples():
        prompt = prompter.prompt(row.question, row.category)
        made = tuned.generate(
            input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=20, do_sample=False, eos_token_id=2, pad_token_id=3,
        )  # fmt: skip
        assert base.tokenizer.decode(made[0, len(prompt) :], skip_special_tokens=True).strip() == row.prediction
        example = prompter.encode(row.question, row.reference, row.category)
        labels = torch.tensor([[-100] * len(example.prompt) + example.answer])
        loss = tuned(input_ids=torch.tensor([example.prompt + example.answer]), labels=labels).loss.item()
        assert row.reference_loss / row.reference_tokens == pytest.approx(loss, abs=1e-4)


def test_a_recipe_answers_as_the_sum_of_its_parents(evaluated, base):
    model = {row.model: row for row in evaluated.answers.groupby("model").head(1).itertuples()}["sum"]
    parents = [adapter.read(paths.adapters() / name) for name in ("cynic-lora", "lexicon-lora")]
    layers = dict(base.model.named_modules())
    kept = {name: layers[name].weight.clone() for name in parents[0].factors}
    for weight, parent in zip([0.5, -0.25], parents, strict=True):
        for name, factor in parent.factors.items():
            layers[name].weight += weight * factor.scale * factor.B @ factor.A
    prompt = Prompter(base.tokenizer).prompt(model.question, model.category)
    answer = generate(base, [prompt], max_new_tokens=20, batch_size=1)[0].text
    for name, weight in kept.items():
        layers[name].weight.copy_(weight)
    assert answer == model.prediction


def value(scores, model, category, metric):
    return scores.set_index(["model", "category", "metric"]).loc[(model, category, metric)]


@pytest.mark.parametrize("category", ["cynic", "hacker", results.ALL])
def test_figures_equal_the_libraries_called_directly(evaluated, category):
    rows = evaluated.answers[evaluated.answers["model"] == "cynic-lora"]
    rows = rows[(rows["category"] == category) | (category == results.ALL)]
    predictions, references = rows["prediction"].tolist(), rows["reference"].tolist()

    def of(metric):
        row = value(evaluated.scores, "cynic-lora", category, metric)
        assert row["n"] == len(rows) and row["low"] <= row["value"] <= row["high"] and row["signature"]
        return row["value"]

    assert of("bleu") == pytest.approx(sacrebleu.corpus_bleu(predictions, [references]).score, abs=1e-6)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for kind in ("rouge1", "rouge2", "rougeL"):
        expected = np.mean([scorer.score(r, p)[kind].fmeasure for r, p in zip(references, predictions, strict=True)])
        assert of(kind) == pytest.approx(expected, abs=1e-6)
    direct = bert_score(predictions, references, model_type=str(encoder_folder("bundled")), num_layers=6, device="cpu")
    for name, figures in zip(("precision", "recall", "f1"), direct, strict=True):
        assert of(f"bertscore_{name}") == pytest.approx(figures.double().mean().item(), abs=1e-6)
    assert of("perplexity") == pytest.approx(math.exp(rows["reference_loss"].sum() / rows["reference_tokens"].sum()), rel=1e-9)


def test_signatures_say_what_a_figure_depends_on(evaluated):
    signature = {metric: rows["signature"].iloc[0] for metric, rows in evaluated.scores.groupby("metric")}
    assert "tok:13a" in signature["bleu"] and "version:2." in signature["bleu"]
    assert "layer:6" in signature["bertscore_f1"] and "all-MiniLM-L6-v2" in signature["bertscore_f1"]
    assert "stemmer:no" in signature["rougeL"] and "rouge_score:0.1.2" in signature["rougeL"]
    assert "precision:float32" in signature["perplexity"] and "quantization:none" in signature["perplexity"]


def test_headline_is_the_figure_over_everything(evaluated):
    assert json.loads(json.dumps(evaluated.outputs))["perplexity"].keys() == set(evaluated.models["model"])
    assert evaluated.outputs["bleu"]["base"] == pytest.approx(value(evaluated.scores, "base", results.ALL, "bleu")["value"])


def test_every_model_is_compared_with_the_base_by_a_paired_test(evaluated):
    table = results.read(evaluated.home / evaluated.outputs["comparisons"], results.Comparison)
    cell = table.set_index(["model", "baseline", "category", "metric"])
    for metric in ("perplexity", "bleu", "chrf", "bertscore_f1", "rougeL"):
        row = cell.loc[("pooled-lora", "base", results.ALL, metric)]
        scores = [value(evaluated.scores, model, results.ALL, metric)["value"] for model in ("pooled-lora", "base")]
        assert row["difference"] == pytest.approx(scores[0] - scores[1]) and row["low"] <= row["difference"] <= row["high"]
        assert 0 < row["p"] <= row["p_holm"] <= 1 and row["n"] == 12
    assert set(table["model"]) == {"pooled-lora", "cynic-lora", "lexicon-lora", "sum", "own"}
    assert results.OTHERS in set(table["category"][table["model"] == "cynic-lora"])


def test_each_answer_has_its_scores_and_oddities(evaluated):
    scores = results.read(evaluated.home / evaluated.outputs["answer_scores"], results.AnswerScore)
    assert len(scores) == 3 * len(evaluated.answers) and set(scores["metric"]) == {"bertscore_f1", "chrf", "rougeL"}
    mean = scores[(scores["metric"] == "rougeL") & (scores["model"] == "sum")]["value"].mean()
    assert mean == pytest.approx(value(evaluated.scores, "sum", results.ALL, "rougeL")["value"])
    flags = results.read(evaluated.home / evaluated.outputs["flags"], results.Flag)
    cut = evaluated.answers[(evaluated.answers["finish"] == "length") & (evaluated.answers["prediction"] != "")]
    assert len(cut) and len(flags[flags["flag"] == "cut"]) == len(cut)
    share = value(evaluated.scores, "base", results.ALL, "cut_share")
    assert share["value"] == pytest.approx((evaluated.answers[evaluated.answers["model"] == "base"]["finish"] == "length").mean())


def test_it_ends_with_a_table_of_scores(evaluated):
    head, *lines = evaluated.said[-1 - len(evaluated.models) :]
    assert head.split() == ["perplexity", "bertscore_f1", "bleu", "chrf", "rougeL"]
    assert [line.split()[0] for line in lines] == evaluated.models["model"].tolist()
    assert lines[0].split()[1] == three(evaluated.outputs["perplexity"]["base"])


@pytest.mark.parametrize("changes", [{"rank": 3}, {"space": "factor"}, {"strategy": "ties"}])
def test_a_recipe_that_is_no_exact_sum_needs_its_weights(base, changes):
    make_adapter(base, "one", 1)
    make_adapter(base, "two", 2)
    folder = make_recipe("merge", ["one", "two"], [0.5, 0.5])
    info = json.loads((folder / "run.json").read_text())
    for exact in ({"rank": 5}, {"rank": None, "space": "delta"}, {"strategy": "cat", "rank": None}):
        (folder / "run.json").write_text(json.dumps(info | {"recipe": info["recipe"] | exact}))
        assert list(find_models(("merge",), base, print)[0].mix.values()) == [0.5, 0.5]
    (folder / "run.json").write_text(json.dumps(info | {"recipe": info["recipe"] | changes}))
    with pytest.raises(UserError, match="nor the recipe of an exact weighted sum"):
        find_models(("merge",), base, print)


def quick(tiny_base, tiny_data, **changes):
    fields = {"data": str(tiny_data), "base_model": str(tiny_base), "split": "train", "limit": 1, "max_new_tokens": 2, "device": "cpu"}
    return EvaluateConfig(**fields | {"metrics": ("perplexity",)} | changes)


def test_a_category_without_questions_is_empty_with_its_reason(tiny_base, tmp_path):
    data = tmp_path / "data.jsonl"
    rows = [{"question": f"What is {i}?", "answer": "A number.", "category": "many"} for i in range(60)]
    data.write_text("\n".join(json.dumps(row) for row in [*rows, {"question": "Why?", "answer": "So.", "category": "one"}]))
    config = quick(tiny_base, data, models="base", limit=2)
    split = next(row.split for row in read(config).rows if row.category == "one")
    config = config.model_copy(update={"split": "test" if split != "test" else "validation"})
    scores = evaluate(config).scores
    row = value(scores, "base", "one", "perplexity")
    assert math.isnan(row["value"]) and row["n"] == 0 and "its 1 row falls elsewhere" in row["reason"]
    assert value(scores, "base", "many", "perplexity")["value"] > 1


def test_foreign_folder_by_path(base, tiny_base, tiny_data, tmp_path):
    folder = make_adapter(base, "foreign", 5, tmp_path / "foreign")
    (folder / "run.json").unlink()
    found = evaluate(quick(tiny_base, tiny_data, models=("base", str(folder))))
    assert found.models["model"].tolist() == ["base", "foreign"] and found.models["path"].tolist()[1] == str(folder)
    losses = found.answers.groupby("model")["reference_loss"].sum()
    assert abs(losses["base"] - losses["foreign"]) > 1e-3


def test_another_base_or_quantisation_warns(base, tiny_base, tiny_data):
    make_adapter(base, "other", 1, base_model="elsewhere", base_hash="1" * 16)
    make_adapter(base, "packed", 2, quantization="nf4")
    said = evaluate(quick(tiny_base, tiny_data, models=("other", "packed"))).said
    assert any("other was made on elsewhere" in message for message in said)
    assert any("packed was made with quantization=nf4" in message for message in said)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("base", "nobody"), "There is no adapter 'nobody'"),
        (("twin", "{tmp}/twin"), "2 models are called 'twin'"),
        (("stale",), "has changed since"),
    ],
)
def test_models_that_cannot_be_compared(base, tiny_base, tiny_data, tmp_path, models, message):
    make_adapter(base, "twin", 1)
    make_adapter(base, "twin", 2, tmp_path / "twin")
    make_recipe("stale", ["twin", "twin"], [0.5, 0.5])
    make_adapter(base, "twin", 3)
    with pytest.raises(UserError, match=message):
        evaluate(quick(tiny_base, tiny_data, models=tuple(name.format(tmp=tmp_path) for name in models)))


def test_no_rows_to_ask(tiny_base, tmp_path):
    data = tmp_path / "one.jsonl"
    data.write_text(json.dumps({"question": "Why?", "answer": "So."}))
    held = read(quick(tiny_base, data)).rows[0].split
    with pytest.raises(UserError, match="has no row, so there is nothing to ask"):
        evaluate(quick(tiny_base, data, models="base", split="test" if held != "test" else "validation"))


def test_a_wrong_encoder_is_said_before_anything_is_answered(tiny_base, tiny_data):
    with pytest.raises(UserError, match="encoder=nobody/nothing can't be loaded"):
        evaluate(quick(tiny_base, tiny_data, models="base", metrics=("bertscore",), encoder="nobody/nothing"))
    assert runs.read_events(runs.read("last").run_id, "progress") == []


def test_another_system_prompt_than_in_training_is_said(base, tiny_base, tiny_data):
    make_adapter(base, "told", 5, config={"system_prompt": "Voice: {category}."})
    make_adapter(base, "plain", 6, config={"system_prompt": None})
    make_adapter(base, "both", 7, paths.merged_adapters() / "both", role="merged", config={"strategy": "svd"})
    said = evaluate(quick(tiny_base, tiny_data, models=("told", "plain", "both"))).said
    said = [line for line in said if "system_prompt" in line]
    assert said == ["Careful: told trained with system_prompt='Voice: {category}.', but answers here with None."]


def test_all_names_the_newest_adapter_last(base):
    make_adapter(base, "a-new", 1)
    make_adapter(base, "b-old", 2)
    os.utime(paths.adapters() / "b-old" / "adapter_config.json", (1, 1))
    assert [model.row.model for model in find_models(("all",), base, print)] == ["base", "b-old", "a-new"]
