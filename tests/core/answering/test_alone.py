"""DoRA adapters and whole models in an evaluation: they answer the same questions as the bank's models, each by itself."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from core import paths, results, runs
from core.answering import alone
from core.config import EvaluateConfig, TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.errors import UserError
from core.evaluate.run import run
from core.models.generate import generate
from core.models.load import content_hash, load
from core.train.run import run as train
from core.tuned import tune
from core.workspace import Workspace


def make_adapter(base: Path, name: str, method: str, seed: int) -> Path:
    tuned = tune(AutoModelForCausalLM.from_pretrained(base), method=method, r=2, target_modules="q_proj,down_proj")
    tuned.bank.values.add_(torch.randn(tuned.bank.values.shape, generator=torch.Generator().manual_seed(seed)) * 0.1)
    return tuned.save(paths.adapters() / name)


def make_whole(base: Path, name: str, **info: Any) -> Path:
    folder = paths.models() / name
    shutil.copytree(base, folder)
    model = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    model.save_pretrained(folder)
    given = {"role": "pooled", "categories": ["cynic", "hacker"], "base_model": str(base), "base_hash": content_hash(base), **info}
    (folder / "run.json").write_text(json.dumps({**given, "quantization": "none", "method": "full"}))
    return folder


class Evaluated:
    def __init__(self, base: Path, data: Path, **fields: object) -> None:
        given = {"data": str(data), "base_model": str(base), "split": "train", "limit": 2, "max_new_tokens": 12, "device": "cpu"}
        self.config = EvaluateConfig(**{**given, "metrics": "perplexity", **fields})
        workspace = Workspace(runs.create("evaluate", self.config.model_dump(mode="json")))
        outputs = run(self.config, workspace)
        self.models = results.read(paths.home() / outputs["models"], results.Model)
        self.answers = results.read(paths.home() / outputs["answers"], results.Answer)
        self.said = [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]

    def of(self, model: str) -> pd.DataFrame:
        return self.answers[self.answers["model"] == model].reset_index(drop=True)

    def expected(self, model: Any) -> tuple[list[str], list[float]]:
        """Answers and losses of a transformers model, row by row, by its own forward pass."""
        base = load(self.config.base_model, device="cpu")
        prompter = Prompter(base.tokenizer, None, self.config.max_seq_length)
        rows = read(self.config).select("train", limit=2)
        encoded = prompter.encode_all([(row.question, row.answer, row.category) for row in rows])
        base = type(base)(**{**vars(base), "model": model.eval()})
        made = generate(base, [each.prompt for each in encoded], max_new_tokens=12, batch_size=1)
        losses = []
        for each in encoded:
            labels = torch.tensor([[-100] * len(each.prompt) + each.answer])
            with torch.no_grad():
                loss = model(input_ids=torch.tensor([each.prompt + each.answer]), labels=labels).loss
            losses.append(loss.item() * len(each.answer))
        return [each.text for each in made], losses


def test_all_has_dora_and_whole_models_beside_the_banks(tiny_base: Path, tiny_data: Path) -> None:
    for name, method, seed in [("a-lora", "lora", 1), ("b-dora", "dora", 2), ("c-dora", "dora", 3)]:
        make_adapter(tiny_base, name, method, seed)
    make_whole(tiny_base, "everything")
    make_whole(tiny_base, "elsewhere", base_model="another", base_hash="0" * 16)
    shutil.copytree(tiny_base, paths.models() / "downloaded")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = Evaluated(tiny_base, tiny_data)
    assert found.models[["model", "role", "path"]].values.tolist() == [
        ["base", "base", str(tiny_base)],
        ["everything", "pooled", "models/everything"],
        ["a-lora", "own", "adapters/a-lora"],
        ["b-dora", "own", "adapters/b-dora"],
        ["c-dora", "own", "adapters/c-dora"],
    ]
    assert found.answers["model"].drop_duplicates().tolist() == found.models["model"].tolist()
    assert any("Left out: elsewhere was made on another" in each for each in found.said)
    plain = AutoModelForCausalLM.from_pretrained
    expected = {
        "base": plain(tiny_base),
        "everything": plain(paths.models() / "everything"),
        **{name: PeftModel.from_pretrained(plain(tiny_base), paths.adapters() / name) for name in ("a-lora", "b-dora", "c-dora")},
    }
    for name, model in expected.items():
        texts, losses = found.expected(model)
        assert found.of(name)["prediction"].fillna("").tolist() == texts, name
        assert found.of(name)["reference_loss"].tolist() == pytest.approx(losses, rel=1e-4), name
    sums = found.answers.groupby("model")["reference_loss"].sum()
    assert sums.round(3).nunique() == 5, "two models are the same, so this shows less than it should"


def test_the_base_is_itself_again_after_a_dora(tiny_base: Path) -> None:
    folder, base = make_adapter(tiny_base, "b-dora", "dora", 2), load(str(tiny_base), device="cpu")
    before, ids = {name: type(module) for name, module in base.model.named_modules()}, torch.arange(5, 30)[None]
    with torch.no_grad():
        plain = base.model(ids).logits
        with alone.loaded(folder, base, EvaluateConfig()) as own:
            assert not torch.allclose(own.model(ids).logits, plain, atol=1e-2)
        assert torch.equal(base.model(ids).logits, plain)
    assert {name: type(module) for name, module in base.model.named_modules()} == before


@pytest.mark.parametrize("name", ["pooled-full", "models/pooled-full"])
def test_a_full_fine_tuning_is_evaluated_by_name(name: str, tiny_base: Path, tiny_data: Path) -> None:
    fields = {"data": str(tiny_data), "base_model": str(tiny_base), "categories": "pooled", "max_steps": 3, "learning_rate": 1e-3}
    config = TrainConfig(method="full", **fields)
    train(config, Workspace(runs.create("train", config.model_dump(mode="json"))))
    found = Evaluated(tiny_base, tiny_data, models=f"base,{name}")
    assert found.models["content_hash"].tolist() == [content_hash(tiny_base), content_hash(paths.models() / "pooled-full")]
    assert found.of("pooled-full")["reference_loss"].sum() < found.of("base")["reference_loss"].sum()


def test_a_dora_answers_on_a_base_in_4_bit(tiny_base: Path, tiny_data: Path) -> None:
    make_adapter(tiny_base, "b-dora", "dora", 2)
    found = Evaluated(tiny_base, tiny_data, models="base,b-dora", quantization="nf4")
    model = PeftModel.from_pretrained(load(str(tiny_base), quantization="nf4", device="cpu").model, paths.adapters() / "b-dora")
    assert found.of("b-dora")["reference_loss"].tolist() == pytest.approx(found.expected(model)[1], rel=1e-4)
    assert any("b-dora was made with quantization=none, but answers here with quantization=nf4" in each for each in found.said)


def test_warnings_are_those_of_adapters(tiny_base: Path, tiny_data: Path) -> None:
    folder = make_whole(tiny_base, "foreign", base_model="another", base_hash="0" * 16, config={"system_prompt": "Be brief."})
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"][0]["content"] = "<|renamed|>"
    tokenizer["model"]["vocab"]["<|renamed|>"] = tokenizer["model"]["vocab"].pop("<|endoftext|>")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    said = " ".join(Evaluated(tiny_base, tiny_data, models="foreign").said)
    assert "Careful: foreign was made on another, but answers here on" in said
    assert "Careful: foreign trained with system_prompt='Be brief.', but answers here with None." in said
    assert "Careful: foreign has another tokenizer than" in said


def test_a_dora_of_another_base_gets_a_sentence(tiny_base: Path, tiny_data: Path) -> None:
    config = AutoModelForCausalLM.from_pretrained(tiny_base).config
    narrow = AutoModelForCausalLM.from_config(type(config)(**{**config.to_dict(), "hidden_size": 32, "head_dim": 8}))
    tune(narrow, method="dora").save(paths.adapters() / "narrow")
    with pytest.raises(UserError, match="'narrow' does not fit this base model"):
        Evaluated(tiny_base, tiny_data, models="narrow")
    with pytest.raises(UserError, match="There is no adapter 'nothing'"):
        Evaluated(tiny_base, tiny_data, models="nothing")
