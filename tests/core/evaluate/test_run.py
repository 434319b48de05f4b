"""An evaluation from files to tables: its models, its answers, and figures that the libraries confirm from answers.csv."""

import json
import math

import numpy as np
import pytest
import sacrebleu
import torch
from bert_score import score as bert_score
from rouge_score.rouge_scorer import RougeScorer

from core import adapter, paths, results
from core.config import EvaluateConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.models.embed import encoder_folder
from core.models.generate import generate
from core.wording import three
from tests.core.evaluate.evaluated import evaluate, make_adapter, make_recipe, value


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
