"""Tuning one's own model in one's own loop, against peft in the same loop."""

import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, VeraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from core import adapter, paths
from core.bank import AdapterBank
from core.config import TrainConfig
from core.errors import UserError
from core.train import METHODS
from core.tuned import TunedAdapter, load, tune

TARGETS = ("q_proj", "v_proj", "down_proj")
SETTINGS = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, "delta_start": 3, "loraplus_lr_ratio": 4}
LOW_RANK = [method for method in METHODS if method not in ("full", "qlora")]
TEXTS = [f"{'Why? ' * (n % 4 + 1)}Because of {n} reasons, and a few more that nobody knows." for n in range(16)]


@pytest.fixture
def model(tiny_base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_base)


@pytest.fixture(scope="session")
def batches(tiny_base: Path) -> list[dict[str, torch.Tensor]]:
    """Four padded batches of four rows, as a DataLoader makes them."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)

    def collate(texts: list[str]) -> dict[str, torch.Tensor]:
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        return {**batch, "labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)}

    return list(DataLoader(TEXTS, batch_size=4, collate_fn=collate))


def loop(model: Any, optimizer: torch.optim.Optimizer, batches: list[dict[str, torch.Tensor]], steps: int = 30) -> list[float]:
    """The plainest loop there is."""
    losses = []
    for step in range(steps):
        loss = model(**batches[step % len(batches)]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


def peft_of(tuned: TunedAdapter, model: Any) -> Any:
    """The same adapter by peft, with the same start."""
    shared = {"r": 4, "target_modules": list(TARGETS), "task_type": "CAUSAL_LM"}
    if tuned.config.method == "vera":
        return get_peft_model(model, VeraConfig(**shared, projection_prng_key=tuned.config.seed, d_initial=tuned.config.vera_d_initial))
    wrapped = get_peft_model(model, LoraConfig(**shared, lora_alpha=8, use_dora=tuned.config.method == "dora"))
    layers = dict(wrapped.named_modules())
    for site in tuned.bank.sites:
        with torch.no_grad():
            layers[f"base_model.model.{site.layer}"].lora_A["default"].weight.copy_(site.own[0]["A"].T)
    return wrapped


@pytest.mark.parametrize("method", ["lora", "vera", "dora"])
def test_thirty_steps_equal_peft_in_the_same_loop(
    method: str, model: Any, tiny_base: Path, batches: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = tune(model, method=method, **SETTINGS)
    theirs = peft_of(tuned, AutoModelForCausalLM.from_pretrained(tiny_base))
    tuned.print_trainable_parameters()
    theirs.print_trainable_parameters()
    ours_said, theirs_said = capsys.readouterr().out.splitlines()
    assert ours_said == theirs_said
    found = loop(model, torch.optim.AdamW(tuned.parameters(), lr=1e-2), batches)
    expected = loop(theirs, torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-2), batches)
    assert found == pytest.approx(expected, rel=1e-4) and found[-1] < found[0] - 0.3
    torch.testing.assert_close(logits(model, batches[0]), logits(theirs, batches[0]), rtol=1e-4, atol=1e-4)
    saved = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), tuned.save(tmp_path / "saved"))
    for name, tensor in saved.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", LOW_RANK)
def test_saved_loaded_and_trained_on_is_trained_in_one_go(method: str, model: Any, tiny_base: Path, batches: list, tmp_path: Path) -> None:
    """SGD has no memory, so going on from the folder is the same as never having stopped."""
    tuned = tune(model, method=method, **SETTINGS)
    rates = tuned.parameter_groups(learning_rate=0.05)
    loop(model, torch.optim.SGD(rates), batches, 8)
    tuned.save(tmp_path / "half")
    again = load(AutoModelForCausalLM.from_pretrained(tiny_base), tmp_path / "half")
    assert (again.steps, again.config.method) == (8, method)
    torch.testing.assert_close(logits(again.model, batches[1]), logits(model, batches[1]), rtol=1e-5, atol=1e-5)
    for each in (tuned, again):
        loop(each.model, torch.optim.SGD(each.parameter_groups(learning_rate=0.05)), batches, 8)
    torch.testing.assert_close(logits(again.model, batches[1]), logits(model, batches[1]), rtol=1e-4, atol=1e-4)
    plain = AutoModelForCausalLM.from_pretrained(tiny_base)
    assert (logits(model, batches[1]) - logits(plain, batches[1])).abs().max() > 1e-3, "nothing was learnt, so this shows nothing"


@pytest.mark.parametrize("method", [method for method in LOW_RANK if method != "dora"])
def test_what_is_saved_answers_in_a_bank(method: str, model: Any, tiny_base: Path, batches: list, tmp_path: Path) -> None:
    tuned = tune(model, method=method, **SETTINGS)
    loop(model, torch.optim.AdamW(tuned.parameter_groups(learning_rate=1e-2)), batches, 8)
    plain = AutoModelForCausalLM.from_pretrained(tiny_base)
    bank = AdapterBank.load(plain, [adapter.read(tuned.save(tmp_path / "mine"))])
    with bank.mixing(torch.ones(1)):
        torch.testing.assert_close(logits(plain, batches[0]), logits(model, batches[0]), rtol=1e-4, atol=1e-4)


def test_delta_lora_hears_of_the_steps_of_any_torch_optimizer(model: Any, batches: list) -> None:
    """W changes after K + 1 steps, and the loop says nothing of them; another model's optimiser doesn't count."""
    tuned = tune(model, method="delta_lora", **SETTINGS)
    other = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    start = tuned.bank.sites[0].own[0]["A'"].clone()
    for optimizer in (torch.optim.SGD(tuned.parameters(), lr=0.1), torch.optim.RMSprop(tuned.parameters(), lr=1e-3)):
        loop(model, optimizer, batches, 5)
        other.step()
    assert tuned.steps == 10
    kept, now = tuned.bank.sites[0].own[0]["A'"], tuned.bank.sites[0].own[0]["A"]
    assert not torch.equal(kept, start) and not torch.equal(kept, now)


def test_lora_plus_has_two_learning_rates(model: Any) -> None:
    tuned = tune(model, method="lora_plus", **SETTINGS)
    groups = tuned.parameter_groups(learning_rate=1e-3)
    assert [group["lr"] for group in groups] == pytest.approx([1e-3, 4e-3])
    assert {parameter.shape[1] for parameter in groups[0]["params"]} == {4} == {parameter.shape[0] for parameter in groups[1]["params"]}
    assert len(groups[0]["params"]) == len(groups[1]["params"]) == len(tuned.parameters()) / 2
    tuned.detach()
    assert len(tune(model, method="lora", **SETTINGS).parameter_groups(learning_rate=1e-3)) == 1


def test_the_model_shows_what_trains_and_is_itself_again_when_detached(model: Any, tiny_base: Path, batches: list) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = logits(model, batches[0])
    tuned = tune(model, method="dora", **SETTINGS)
    shown = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {id(each) for each in shown} == {id(each) for each in tuned.parameters()}
    loop(model, torch.optim.AdamW(shown, lr=1e-2), batches, 3)
    with pytest.raises(UserError, match="is in training already"):
        tune(model, method="lora")
    tuned.detach()
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(logits(model, batches[0]), expected)
    tune(model, method="lora")


def test_transformers_trainer_trains_it(model: Any, batches: list, tmp_path: Path) -> None:
    tuned = tune(model, method="lora", **SETTINGS)
    before = torch.cat([parameter.detach().flatten() for parameter in tuned.parameters()])
    rows = [{name: tensor[0] for name, tensor in batch.items()} for batch in batches]
    arguments = TrainingArguments(
        str(tmp_path), max_steps=3, per_device_train_batch_size=1, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True
    )
    Trainer(model=model, args=arguments, train_dataset=rows).train()
    assert tuned.steps == 3
    assert not torch.equal(torch.cat([parameter.detach().flatten() for parameter in tuned.parameters()]), before)


@pytest.mark.parametrize("method", ["lora", "vera", "dora", "delta_lora"])
def test_autocast_and_recomputed_activations(method: str, model: Any, batches: list) -> None:
    tuned = tune(model, method=method, lora_dropout=0, **SETTINGS)
    with torch.autocast("cpu", torch.bfloat16):
        model(**batches[0]).loss.backward()
    coarse = [parameter.grad.clone() for parameter in tuned.parameters()]
    model.gradient_checkpointing_enable()
    model.train()
    model.zero_grad()
    model(**batches[0]).loss.backward()
    for parameter, rounded in zip(tuned.parameters(), coarse, strict=True):
        assert parameter.dtype == rounded.dtype == torch.float32
        assert (parameter.grad - rounded).norm() <= 0.1 * parameter.grad.norm() + 1e-6


def test_dropout_is_the_models_training_mode(model: Any, batches: list) -> None:
    tuned = tune(model, TrainConfig(method="lora", lora_dropout=0.5), target_modules=TARGETS)
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.normal_(std=0.1)
    model.eval()
    assert torch.equal(logits(model, batches[0]), logits(model, batches[0]))
    model.train()
    assert not torch.equal(logits(model, batches[0]), logits(model, batches[0]))


def test_qlora_wants_a_model_in_4_bit(model: Any, tiny_base: Path, batches: list, tmp_path: Path) -> None:
    from core.models.load import load as load_base

    with pytest.raises(UserError, match="method=qlora trains on a model in 4 bit, and this one is not"):
        tune(model, method="qlora")
    quantised = load_base(str(tiny_base), quantization="nf4").model
    tuned = tune(quantised, method="qlora", **SETTINGS)
    with pytest.raises(UserError, match="weights held in 4 bit can't be changed"):
        tune(load_base(str(tiny_base), quantization="nf4").model, method="full")
    losses = loop(quantised, torch.optim.AdamW(tuned.parameters(), lr=1e-2), batches, 20)
    assert losses[-1] < losses[0] - 0.3
    assert adapter.read_info(tuned.save(tmp_path / "q"))["quantization"] == "nf4"


def test_full_is_every_weight_in_a_plain_loop(
    model: Any, tiny_base: Path, batches: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = tune(model, method="full")
    tuned.print_trainable_parameters()
    count = model.num_parameters()
    assert capsys.readouterr().out == f"trainable params: {count:,} || all params: {count:,} || trainable%: 100.0000\n"
    theirs = AutoModelForCausalLM.from_pretrained(tiny_base)
    found = loop(model, torch.optim.AdamW(tuned.parameter_groups(learning_rate=1e-3)), batches)
    assert found == loop(theirs, torch.optim.AdamW(theirs.parameters(), lr=1e-3), batches)
    saved = AutoModelForCausalLM.from_pretrained(tuned.save(tmp_path / "whole"))
    assert torch.equal(logits(saved, batches[0]), logits(theirs, batches[0]))
    assert adapter.read_info(tmp_path / "whole")["method"] == "full"
    with pytest.raises(UserError, match="A whole model is loaded by transformers"):
        load(saved, tmp_path / "whole")


def test_a_folder_that_the_train_verb_wrote_is_loaded(tiny_base: Path, tiny_data: Path, batches: list) -> None:
    from core import runs
    from core.train.run import run
    from core.workspace import Workspace

    config = TrainConfig(data=str(tiny_data), base_model=str(tiny_base), categories="pooled", max_steps=4, method="lora_fa")
    run(config, Workspace(runs.create("train", config.model_dump(mode="json"))))
    folder = paths.adapters() / "pooled-lora_fa"
    ours = load(AutoModelForCausalLM.from_pretrained(tiny_base), folder)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folder)
    torch.testing.assert_close(logits(ours.model, batches[0]), logits(theirs, batches[0]), rtol=1e-5, atol=1e-5)


def test_other_folders_and_other_models_get_a_sentence(model: Any, peft_adapter: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter that Lyceum trained"):
        load(model, peft_adapter("foreign"))
    tuned = tune(model, method="lora", r=2, target_modules="q_proj")
    tuned.save(tmp_path / "mine")
    tuned.detach()
    smaller = AutoModelForCausalLM.from_config(type(model.config)(**{**model.config.to_dict(), "num_hidden_layers": 1}))
    with pytest.raises(UserError, match="changes other layers than this model has"):
        load(smaller, tmp_path / "mine")
    narrow = {**model.config.to_dict(), "hidden_size": 32, "head_dim": 8}
    with pytest.raises(UserError, match="A of layer .* has the shape"):
        load(AutoModelForCausalLM.from_config(type(model.config)(**narrow)), tmp_path / "mine")
    tune(smaller, method="lora")


def test_a_forgotten_model_is_freed(tiny_base: Path, batches: list) -> None:
    """The ear for optimiser steps holds nothing."""
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    tuned = tune(model, method="delta_lora", **SETTINGS)
    loop(model, torch.optim.SGD(tuned.parameters(), lr=0.1), batches, 1)
    seen = weakref.ref(model)
    del model, tuned
    gc.collect()
    assert seen() is None


def test_the_script_of_the_guide_runs(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (paths.PROJECT / "docs" / "training.md").read_text(encoding="utf-8")
    script = re.search(r"```python\n(.*?)```", guide, re.DOTALL).group(1)
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in script
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(script.replace("HuggingFaceTB/SmolLM2-135M-Instruct", str(tiny_base)), names)
    assert capsys.readouterr().out.startswith("trainable params: ")
    batch = names["tokenizer"](names["texts"], padding=True, return_tensors="pt")
    torch.testing.assert_close(logits(names["again"].model, batch), logits(names["model"], batch))
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), tmp_path / "my-adapter")
    torch.testing.assert_close(logits(theirs, batch), logits(names["model"], batch), rtol=1e-4, atol=1e-4)
    assert (logits(theirs, batch) - logits(AutoModelForCausalLM.from_pretrained(tiny_base), batch)).abs().max() > 1e-2
