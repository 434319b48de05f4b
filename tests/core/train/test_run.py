"""The verb `train`, on a tiny random Llama: cohorts, resuming, what it writes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from core import adapter, paths, results, runs
from core.bank import AdapterBank
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.errors import UserError
from core.models.load import load, load_tokenizer
from core.results import Step
from core.train import loop, training_bank
from core.train.cohort import gather
from core.train.part import _keep_until
from core.train.run import run
from core.wording import listed
from core.workspace import Workspace

Train = Callable[..., dict]


@pytest.fixture
def train(tiny_base: Path, tiny_data: Path) -> Train:
    def start(**fields: object) -> dict:
        given = {"data": str(tiny_data), "base_model": str(tiny_base), "max_steps": 20, "learning_rate": 5e-3, "r": 4, "batch_size": 2}
        config = TrainConfig(**{**given, **fields})
        return run(config, Workspace(runs.create("train", config.model_dump(mode="json"))))

    return start


def weights(name: str) -> dict[str, torch.Tensor]:
    return load_file(paths.adapters() / name / "adapter_model.safetensors")


def distance(first: str, second: str) -> float:
    """Largest ||dX|| / ||X|| over the tensors of two adapters."""
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    return max(((one[key] - other[key]).norm() / one[key].norm()).item() for key in one)


def categories_of(data: Path) -> list[str]:
    return list(dict.fromkeys(json.loads(line)["category"] for line in data.read_text(encoding="utf-8").splitlines()))


def test_cohort_equals_separate_runs(train: Train, tiny_data: Path) -> None:
    names = categories_of(tiny_data)
    train(categories="each", name="together")
    for name in names:
        train(categories=name, name=f"alone-{name}")
        assert distance(f"together-{name}", f"alone-{name}") < 1e-4
    assert distance(f"together-{names[0]}", f"together-{names[1]}") > 1e-2


def test_cohort_equals_separate_when_one_stops_early(train: Train, tiny_data: Path) -> None:
    shared = {"max_steps": None, "epochs": 8, "early_stop": 1, "learning_rate": 2e-2, "batch_size": 8}
    outputs = train(categories="each", name="together", **shared)
    table = results.read(paths.home() / outputs["steps"], Step).groupby("adapter")
    steps, epochs = table["step"].max(), table["epoch"].max()
    assert epochs.min() < 8, "nobody stopped early, so this shows nothing"
    for name in categories_of(tiny_data):
        alone = train(categories=name, name=f"alone-{name}", **shared)
        assert results.read(paths.home() / alone["steps"], Step)["step"].max() == steps[f"together-{name}"]
        assert distance(f"together-{name}", f"alone-{name}") < 1e-4


def test_training_lowers_loss_and_is_reproducible(train: Train) -> None:
    first = train(categories="pooled", name="first", max_steps=40)
    train(categories="pooled", name="second", max_steps=40)
    train(categories="pooled", name="other-seed", max_steps=40, seed=1)
    loss = results.read(paths.home() / first["steps"], Step)["loss"]
    assert loss.tail(5).mean() < loss.head(5).mean() - 0.3
    assert distance("first", "second") == 0
    assert distance("first", "other-seed") > 0.1


def test_folder_in_peft_gives_the_logits_of_the_bank(train: Train, tiny_base: Path, tiny_data: Path) -> None:
    train(categories="each", name="a", target_modules="all-linear")
    base = load(str(tiny_base))
    names = [f"a-{name}" for name in categories_of(tiny_data)]
    ids = torch.randint(5, 400, (1, 17), generator=torch.Generator().manual_seed(0)).repeat(len(names) + 1, 1)
    bank = AdapterBank.load(base.model, [adapter.read(paths.adapters() / name) for name in names])
    shares = torch.cat([torch.eye(len(names)), torch.zeros(1, len(names))])
    with torch.no_grad(), bank.mixing(shares):
        ours = base.model(input_ids=ids).logits
    for row, name in enumerate(names):
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), paths.adapters() / name).eval()
        with torch.no_grad():
            assert torch.allclose(model(input_ids=ids[row : row + 1]).logits[0], ours[row], atol=1e-4)
    plain = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    with torch.no_grad():
        assert torch.allclose(plain(input_ids=ids[-1:]).logits[0], ours[-1], atol=1e-5)
    assert min((ours[row] - ours[-1]).abs().max() for row in range(len(names))) > 1e-2, "the adapters change nothing, so this shows nothing"


def test_a_killed_run_resumes_to_the_same_adapters(train: Train, tiny_base: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = train(categories="each", name="whole", max_steps=16)
    fields = {"data": str(tiny_data), "base_model": str(tiny_base), "max_steps": 16, "learning_rate": 5e-3, "r": 4, "batch_size": 2}
    config = TrainConfig(**fields, name="broken")
    workspace = Workspace(runs.create("train", config.model_dump(mode="json")))
    step = loop.Cohort.step
    calls = []

    def dies_at_ten(cohort: loop.Cohort) -> list[Step]:
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return step(cohort)

    monkeypatch.setattr(loop.Cohort, "step", dies_at_ten)
    monkeypatch.setattr("core.train.part.train", lambda cohort, record, save, _: loop.train(cohort, record, save, save_seconds=0))
    with pytest.raises(KeyboardInterrupt):
        run(config, workspace)
    assert not (paths.adapters() / "broken-cynic").exists()
    results.append(workspace.path / "steps.csv", [Step("broken-cynic", 11, 1.0, 9.9, None, 1.0, 1.0, 1.0)], Step)
    monkeypatch.setattr(loop.Cohort, "step", step)
    run(config, workspace)
    for name in categories_of(tiny_data):
        assert distance(f"whole-{name}", f"broken-{name}") < 1e-5
    whole = results.read(paths.home() / outputs["steps"], Step)
    broken = results.read(workspace.path / "steps.csv", Step)
    assert broken["step"].tolist() == whole["step"].tolist()
    assert broken["loss"].tolist() == pytest.approx(whole["loss"].tolist(), abs=1e-5)


def test_qlora_trains_on_a_4_bit_base(train: Train) -> None:
    outputs = train(method="qlora", categories="pooled", max_steps=30)
    info = adapter.read_info(paths.adapters() / "pooled-qlora")
    assert info["quantization"] == "nf4"
    loss = results.read(paths.home() / outputs["steps"], Step)["loss"]
    assert loss.tail(5).mean() < loss.head(5).mean()


def test_run_writes_its_curves_and_says_what_trains(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = train(categories="pooled", max_steps=3)
    assert (paths.home() / outputs["loss_curve"]).read_bytes().startswith(b"\x89PNG")
    assert list((paths.home() / outputs["tensorboard"]).rglob("events.out.tfevents.*"))
    # 2 layers x r x (q: 64+64, k: 64+32, v: 64+32, o: 64+64)
    assert f"trainable params: {2 * 4 * (128 + 96 + 96 + 128):,} ||" in capsys.readouterr().out


def test_best_weights_are_kept_unless_last_is_asked_for(train: Train) -> None:
    shared = {"categories": "hacker", "max_steps": None, "epochs": 12, "learning_rate": 0.05, "schedule": "constant"}
    best = train(name="best", **shared)
    train(name="last", keep="last", **shared)
    curve = results.read(paths.home() / best["steps"], Step).dropna(subset=["validation_loss"])
    kept = adapter.read_info(paths.adapters() / "best")
    assert kept["kept_step"] == curve.loc[curve["validation_loss"].idxmin(), "step"]
    assert kept["kept_step"] < adapter.read_info(paths.adapters() / "last")["kept_step"], "validation never rose, so this shows nothing"
    assert distance("best", "last") > 1e-3


def test_saved_in_bf16_when_asked(train: Train) -> None:
    train(categories="pooled", dtype="bf16", max_steps=2)
    assert {tensor.dtype for tensor in weights("pooled-lora").values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"target_modules": "query"}, "no linear layer called 'query'.*q_proj"),
        ({"categories": "law"}, "no category 'law'"),
        ({"categories": "cynic,cynic"}, "stands twice"),
        ({"categories": ""}, "nothing to train"),
        ({"max_seq_length": 16}, "No category .* has a training row"),
        ({"name": "../x", "categories": "pooled"}, "name '../x' can't be used"),
        ({"name": "base", "categories": "pooled"}, "name 'base' can't be used"),
    ],
)
def test_mistakes_get_a_sentence(train: Train, fields: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        train(**fields)


def test_a_taken_name_is_refused_unless_replace(train: Train) -> None:
    train(categories="pooled", max_steps=1)
    before = weights("pooled-lora")
    with pytest.raises(UserError, match="pooled-lora already"):
        train(categories="pooled", max_steps=2)
    train(categories="pooled", max_steps=2, replace=True)
    assert not all(torch.equal(tensor, weights("pooled-lora")[key]) for key, tensor in before.items())


def test_training_that_diverges_is_told_and_publishes_nothing(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = training_bank.weighted_loss

    def exploding(model: object, batch: object, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total, losses = honest(model, batch, weights)
        return total, losses * float("nan")

    monkeypatch.setattr(training_bank, "weighted_loss", exploding)
    with pytest.raises(UserError, match="training of 'pooled-lora' diverged: its loss is nan at step 1"):
        train(categories="pooled")
    assert not list(paths.adapters().glob("*"))


def test_a_gradient_without_end_is_told_instead_of_clipped_to_nothing(train: Train) -> None:
    with pytest.raises(UserError, match="diverged: its (loss|gradient norm) is (inf|nan)"):
        train(categories="pooled", lora_alpha=1e30, max_steps=5)


def test_a_name_that_a_merge_has_is_refused(train: Train) -> None:
    (paths.merged_adapters() / "both").mkdir(parents=True)
    with pytest.raises(UserError, match="merged_adapters/ has both already"):
        train(categories="pooled", name="both", replace=True)


def test_adapters_without_validation_rows_share_a_sentence(train: Train, tmp_path: Path, tiny_base: Path) -> None:
    rows = [{"question": f"{name} {n}?", "answer": "yes", "category": name} for name in "abcdefgh" for n in range(3)]
    data = tmp_path / "few.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    config = TrainConfig(data=str(data), base_model=str(tiny_base), max_steps=1)
    dataset = read(config)
    lacking = [f"'{name}-lora'" for name in "abcdefgh" if not dataset.select("validation", [name])]
    _, notes = gather(config, dataset, Prompter(load_tokenizer(config.base_model), None, 512))
    assert len(lacking) > 1
    assert notes == [f"{listed(lacking)} have no validation row, so their last weights are kept."]


def test_a_table_that_was_cut_short_is_mended_on_resuming(tmp_path: Path) -> None:
    file, row = tmp_path / "steps.csv", Step("a", 1, 0.1, 2.0, None, 1.0, 0.1, 100.0)
    results.append(file, [row], Step)
    with file.open("a") as table:
        table.write("a,1")
    _keep_until(file, Step, {"a": 1})
    assert len(file.read_text().splitlines()) == 2
