"""Full fine-tuning, against a plain loop around transformers; what it publishes; resuming."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from core import paths, results, runs
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.errors import UserError
from core.models.load import load_tokenizer
from core.results import Step, ValidationRow
from core.train import loop
from core.train.cohort import gather
from core.train.full import Full, WholeModel
from core.train.loop import Cohort
from core.train.run import run
from core.workspace import Workspace


@pytest.fixture
def config(tiny_base: Path, tiny_data: Path) -> Callable[..., TrainConfig]:
    def make(**fields: object) -> TrainConfig:
        given = {"data": str(tiny_data), "base_model": str(tiny_base), "method": "full", "categories": "pooled", "device": "cpu"}
        return TrainConfig(**{**given, "max_steps": 30, "epochs": 20, "learning_rate": 1e-3, "batch_size": 3, **fields})

    return make


@pytest.fixture
def tied(tiny_base: Path, tmp_path: Path) -> Path:
    """A base whose output layer is its embedding."""
    shutil.copytree(tiny_base, tmp_path / "tied")
    shape = LlamaConfig.from_pretrained(tiny_base, tie_word_embeddings=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(shape).save_pretrained(tmp_path / "tied")
    return tmp_path / "tied"


def start(config: TrainConfig) -> dict:
    return run(config, Workspace(runs.create("train", config.model_dump(mode="json"))))


def published(name: str) -> dict[str, Tensor]:
    return load_file(paths.models() / name / "model.safetensors")


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(((first[key] - second[key]).norm() / second[key].norm()).item() for key in first)


@pytest.mark.parametrize("shape", ["tiny_base", "tied"])
def test_weights_move_as_in_a_plain_loop(shape: str, config: Callable, train_with_peft: Callable, request: pytest.FixtureRequest) -> None:
    base = str(request.getfixturevalue(shape))
    settings = config(base_model=base, keep="last", warmup_steps=1, weight_decay=0.01)
    model = AutoModelForCausalLM.from_pretrained(base)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    (member,), _ = gather(settings, read(settings), Prompter(load_tokenizer(base)))
    losses = train_with_peft(model, member)
    outputs = start(settings)
    ours, theirs = published("pooled-full"), dict(model.named_parameters())
    moved = {name: (ours[name] - before[name], theirs[name].detach() - before[name]) for name in before}
    assert all(target.norm() > 0 for _, target in moved.values()), "a tensor that does not train shows nothing"
    print("DIST", shape, max((((mine - target).norm() / target.norm()).item(), name) for name, (mine, target) in moved.items()))
    assert max(((mine - target).norm() / target.norm()).item() for mine, target in moved.values()) < 1e-3
    assert results.read(paths.home() / outputs["steps"], Step)["loss"].tolist() == pytest.approx(losses, rel=1e-4)
    assert ("lm_head.weight" in ours) == (shape == "tiny_base")


def test_the_folder_is_a_model_for_everyone(config: Callable, tiny_base: Path) -> None:
    outputs = start(config(categories="cynic", name="whole", max_steps=4))
    folder = paths.models() / "whole"
    assert outputs["models"] == {"whole": "models/whole"} and "adapters" not in outputs
    info = json.loads((folder / "run.json").read_text())
    assert (info["role"], info["categories"], info["method"], info["base_model"]) == ("own", ["cynic"], "full", str(tiny_base))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert json.loads((folder / "config.json").read_text()).get("_attn_implementation") is None
    own = load_tokenizer(str(tiny_base))
    messages = [{"role": "user", "content": "What is a friend?"}]
    assert tokenizer.apply_chat_template(messages) == own.apply_chat_template(messages)
    table = results.read(runs.folder(info["run_id"]) / "validation_rows.csv", ValidationRow)
    row = table.iloc[0]
    encoded = Prompter(own).encode(row["question"], row["reference"], row["category"])
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([encoded.prompt + encoded.answer])).logits[0, len(encoded.prompt) - 1 : -1]
    assert torch.nn.functional.cross_entropy(logits, torch.tensor(encoded.answer)).item() == pytest.approx(row["loss"], abs=1e-4)


def test_a_model_made_here_is_a_base_model_again(config: Callable) -> None:
    start(config(name="first", max_steps=2))
    before = published("first")
    outputs = start(config(base_model="models/first", method="lora", name="second", max_steps=2))
    info = json.loads((paths.adapters() / "second" / "run.json").read_text())
    assert outputs["adapters"] == {"second": "adapters/second"} and info["base_model"] == "models/first"
    assert distance(before, published("first")) == 0, "the base stays as it is"


def test_in_bf16_the_weights_learn_in_fp32(config: Callable) -> None:
    whole, mixed = (start(config(name=name, precision=name, max_steps=12, learning_rate=3e-4)) for name in ("fp32", "bf16"))
    losses = [results.read(paths.home() / outputs["steps"], Step)["loss"] for outputs in (whole, mixed)]
    assert 0 < (losses[0] - losses[1]).abs().max() < 0.05
    weights = published("bf16")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in weights.values())
    assert distance(weights, published("fp32")) < 0.02


def test_saved_in_bf16_when_asked(config: Callable) -> None:
    start(config(dtype="bf16", max_steps=1))
    assert {tensor.dtype for tensor in published("pooled-full").values()} == {torch.bfloat16}
    assert AutoModelForCausalLM.from_pretrained(paths.models() / "pooled-full").dtype == torch.bfloat16


def test_the_best_weights_wait_on_disk(config: Callable) -> None:
    shared = {"categories": "hacker", "epochs": 8, "max_steps": None, "learning_rate": 2e-2, "schedule": "constant"}
    outputs = start(config(name="best", **shared))
    start(config(name="last", keep="last", **shared))
    curve = results.read(paths.home() / outputs["steps"], Step).dropna(subset=["validation_loss"])
    info = json.loads((paths.models() / "best" / "run.json").read_text())
    best = curve.loc[curve["validation_loss"].idxmin()]
    assert info["kept_step"] == best["step"] < curve["step"].max(), "validation never rose, so this shows nothing"
    rows = results.read(runs.folder(info["run_id"]) / "validation_rows.csv", ValidationRow)
    assert (rows["loss"] * rows["tokens"]).sum() / rows["tokens"].sum() == pytest.approx(best["validation_loss"], rel=1e-4)
    assert distance(published("best"), published("last")) > 1e-2


def test_a_killed_run_resumes_to_the_same_model(config: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    start(config(name="whole", max_steps=14))
    settings = config(name="broken", max_steps=14)
    workspace = Workspace(runs.create("train", settings.model_dump(mode="json")))
    step, calls = Cohort.step, []

    def dies(cohort: Cohort) -> list[Step]:
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return step(cohort)

    monkeypatch.setattr(Cohort, "step", dies)
    monkeypatch.setattr("core.train.part.train", lambda cohort, record, save, _: loop.train(cohort, record, save, save_seconds=-1))
    monkeypatch.setattr(loop, "SAVE_PAUSE", 0)
    with pytest.raises(KeyboardInterrupt):
        run(settings, workspace)
    assert not (paths.models() / "broken").exists()
    monkeypatch.setattr(Cohort, "step", step)
    run(settings, workspace)
    assert len(runs.read_events(workspace.run.run_id, "published")) == 1
    assert "Resumed after step 8." in [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]
    assert distance(published("whole"), published("broken")) < 1e-5


def test_an_overflow_of_fp16_leaves_the_step_out(config: Callable) -> None:
    settings = config(precision="fp16", max_steps=2)
    (member,), _ = gather(settings, read(settings), Prompter(load_tokenizer(settings.base_model)))
    base = Full(settings).load()
    assert base.dtype == torch.float16 and base.model.dtype == torch.float32
    cohort = Cohort(base, WholeModel(base, member.name, paths.home()), [member], lambda _: None)
    before = base.model.lm_head.weight.clone()
    cohort.progress[0].loss_scale = 2.0**40
    cohort.step()
    assert torch.equal(before, base.model.lm_head.weight) and cohort.progress[0].loss_scale == 2.0**39
    cohort.progress[0].loss_scale = 2.0**10
    cohort.step()
    assert not torch.equal(before, base.model.lm_head.weight)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"categories": "each"}, "categories=each asks for 3 of them at once. Say categories=pooled"),
        ({"categories": "cynic,hacker"}, "categories=cynic,hacker asks for 2"),
        ({"quantization": "nf4"}, "quantization=nf4.* can't be changed. Say quantization=none, or method=qlora"),
        ({"lora_dropout": 0.1}, "lora_dropout=0.1 hides inputs from an adapter, and method=full trains none"),
        ({"name": "base"}, "name 'base' can't be used"),
    ],
)
def test_what_full_fine_tuning_cannot_do_is_told(config: Callable, fields: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        start(config(**fields))
    assert not paths.models().exists()


def test_names_tell_models_and_adapters_apart(config: Callable) -> None:
    start(config(name="one", max_steps=1))
    with pytest.raises(UserError, match="models/ has one already. Choose another name, or say replace=true"):
        start(config(name="one", max_steps=1))
    with pytest.raises(UserError, match="models/ has one already, and names must tell models apart"):
        start(config(name="one", method="lora", max_steps=1, replace=True))
    before = published("one")
    start(config(name="one", max_steps=2, replace=True))
    assert distance(before, published("one")) > 0
